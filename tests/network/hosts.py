"""Machines in network namespaces: each a process that holds one, joined by bridges in another."""

import itertools
import os
import shutil
import subprocess
import sys
import time

SKIPPED = 77


def enter():
    """Runs this script again as root of a user namespace of its own, in which machines can be made."""
    if os.environ.get("SOLLOL_IN_NAMESPACE"):
        return
    if not (shutil.which("ip") and shutil.which("unshare") and shutil.which("nsenter")):
        print("skipped: ip, unshare and nsenter are needed")
        sys.exit(SKIPPED)
    probe = subprocess.run(["unshare", "-Urnm", "ip", "link", "add", "type", "bridge"],
                           capture_output=True)
    if probe.returncode != 0:
        print("skipped: no network namespace with bridges can be made here: " + probe.stderr.decode())
        sys.exit(SKIPPED)
    os.environ["SOLLOL_IN_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", "-Urnm", "--kill-child", "--fork", "--pid", "--mount-proc",
                          sys.executable, "-B", *sys.argv])


class Host:
    """One machine: a network namespace, and what runs in it. With `preparation`, a shell command, it has mounts,
    processes and a name of its own too, and runs that first."""

    def __init__(self, preparation=None):
        whole = ["-m", "-u", "-p", "--fork", "--kill-child", "--mount-proc"] if preparation else []
        self.keeper = subprocess.Popen(["unshare", "-n", *whole, "sleep", "infinity"])
        ours = os.readlink("/proc/self/ns/net")
        limit = time.monotonic() + 10
        while os.readlink(f"/proc/{self.keeper.pid}/ns/net") == ours:
            if time.monotonic() > limit:
                raise RuntimeError("no namespace was made")
            time.sleep(0.005)
        self.entry = ["-n"]
        if preparation:
            namespaces = f"/proc/{self.keeper.pid}/ns"
            self.entry = ["-n", "-u", "-m", f"--pid={namespaces}/pid_for_children"]
        self.processes = []
        if preparation:
            self.prepare(preparation, limit)
        self.run("ip", "link", "set", "lo", "up")

    def prepare(self, preparation, limit):
        """Waits for the first process of the new table, then runs the command there."""
        while self.run("test", "-e", "/proc/1/comm", check=False).returncode != 0 or \
                self.run("cat", "/proc/1/comm").stdout != "sleep\n":
            if time.monotonic() > limit:
                raise RuntimeError("no process table was made")
            time.sleep(0.005)
        self.run("sh", "-c", preparation)

    def command(self, *words):
        return ["nsenter", "-t", str(self.keeper.pid), *self.entry, *words]

    def run(self, *words, check=True):
        done = subprocess.run(self.command(*words), capture_output=True, text=True)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def start(self, *words, **options):
        process = subprocess.Popen(self.command(*words), **options)
        self.processes.append(process)
        return process

    def stop(self):
        for process in [*self.processes, self.keeper]:
            process.kill()
            process.wait()


class Switch:
    """A link that any number of machines share. Lives in a namespace that is nobody's."""

    numbers = itertools.count()  # an interface's name is the only one of its kind in the room

    def __init__(self, room):
        self.room = room
        self.number = next(Switch.numbers)
        self.ports = 0
        self.name = f"switch{self.number}"
        room.run("ip", "link", "add", self.name, "type", "bridge")
        room.run("ip", "link", "set", self.name, "up")

    def plug(self, host, interface, *addresses):
        """Gives the machine an interface on this link."""
        self.ports += 1
        port = f"port{self.number}_{self.ports}"
        self.room.run("ip", "link", "add", port, "type", "veth", "peer", "name", interface,
                      "netns", str(host.keeper.pid))
        self.room.run("ip", "link", "set", port, "master", self.name)
        self.room.run("ip", "link", "set", port, "up")
        for address in addresses:
            host.run("ip", "addr", "add", address, "dev", interface)
        host.run("ip", "link", "set", interface, "up")
