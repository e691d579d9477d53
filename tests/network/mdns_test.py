"""Agents and gateways that announce themselves through Avahi, on machines in namespaces that this test
makes: a node where no scan comes is found by its machine's agent, and a gateway is told for what it is."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import hosts

SOLLOL = os.environ.get("SOLLOL_BIN", str(Path(__file__).resolve().parents[2] / "build/release/src/cli/sollol"))

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>ANONYMOUS</auth><allow_anonymous/>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
"""
AVAHI = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=no
enable-dbus=yes
[rlimits]
"""


class Machine(hosts.Host):
    """A machine with a message bus and an Avahi of its own."""

    def __init__(self, folder, name):
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        (self.folder / "bus.conf").write_text(BUS)
        (self.folder / "avahi.conf").write_text(AVAHI.format(name=name))
        # Avahi wants its folder to be its user's, and there is one user here.
        (self.folder / "passwd").write_text("root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/sh\n")
        (self.folder / "group").write_text("root:x:0:\navahi:x:0:\n")
        super().__init__("".join(f"mount --bind {self.folder}/{file} /etc/{file} && " for file in ("passwd", "group")) +
                         f"mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && hostname {name}")

    def start_avahi(self):
        log = open(self.folder / "log", "w")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": log}
        self.start("dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--nopidfile", **quiet)
        self.wait_for("/run/bus", log)
        self.start(shutil.which("avahi-daemon") or "/usr/sbin/avahi-daemon", "-f", str(self.folder / "avahi.conf"),
                   "--no-drop-root", "--no-rlimits", "--no-chroot",
                   env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/bus"}, **quiet)
        self.wait_for("/run/avahi-daemon/socket", log)
        log.close()

    def wait_for(self, path, log):
        limit = time.monotonic() + 10
        while self.run("test", "-e", path, check=False).returncode != 0:
            if time.monotonic() > limit:
                log.close()
                raise RuntimeError(f"no {path}: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def sollol(self, *words, **options):
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/bus"}
        return self.start(SOLLOL, *words, stdout=subprocess.DEVNULL, env=environment, **options)

    def ask(self, *words):
        return subprocess.run(self.command("env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus", SOLLOL, *words),
                              capture_output=True, text=True)


class Mdns(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        room = self.kept(hosts.Host())
        lan = hosts.Switch(room)
        self.machines = {}
        # One link, a subnet for each: no scan of one reaches another.
        for number, name in enumerate(("desk", "box", "rack"), 1):
            machine = self.machines[name] = self.kept(Machine(self.path, name))
            lan.plug(machine, "eth0", f"10.79.{number}.1/24")
            machine.run("ip", "route", "add", "10.79.0.0/16", "dev", "eth0")
            machine.run("ip", "route", "add", "224.0.0.0/4", "dev", "eth0")

    def kept(self, host):
        self.addCleanup(host.stop)
        return host

    def start_agent(self, box):
        (self.path / "token").write_text("0123456789abcdef0123456789abcdef\n")
        box.sollol("agent", "--listen", ":11436", "--token-file", str(self.path / "token"), stderr=subprocess.DEVNULL)

    def start_node(self, box):
        fleet = self.path / "node.toml"
        fleet.write_text('[[node]]\nname = "box"\nlisten = "0.0.0.0:11434"\nmodels = ["llama3.2"]\n')
        box.sollol("sim", "--fleet", str(fleet), "--allow-remote", stderr=subprocess.DEVNULL)

    def eventually(self, condition, what):
        limit = time.monotonic() + 30
        while not condition():
            logs = {log: log.read_text()[-1500:] for log in self.path.glob("**/log")}
            self.assertLess(time.monotonic(), limit, f"{what}: {logs}")
            time.sleep(0.05)

    def test_what_is_announced_is_found(self):
        desk, box, rack = self.machines.values()
        for machine in self.machines.values():
            machine.start_avahi()
        self.start_node(box)
        self.start_agent(box)
        rack.sollol("up", "--listen", "0.0.0.0:11600", "--node", "http://127.0.0.1:9", "--no-node-file", "--state-file",
                    "off", "--log-access", "off", stderr=subprocess.DEVNULL)
        log = open(self.path / "log", "w")
        self.addCleanup(log.close)
        desk.sollol("up", "--listen", "127.0.0.1:11500", "--no-node-file", "--state-file", "off", "--discovery-interval",
                    "1", "--log-access", "off", stderr=log)
        nodes = lambda: [node["url"] for node in json.loads(desk.run(
            "curl", "-s", "-m", "5", "http://127.0.0.1:11500/sollol/v1/nodes", check=False).stdout or '{"nodes":[]}')["nodes"]]
        self.eventually(lambda: nodes() == ["http://10.79.2.1:11434"], "the node of the agent's machine")

        told = ""

        def both_are_told():
            nonlocal told
            told = desk.ask("discover", "--verbose", "--timeout", "5").stdout
            return "10.79.2.1" in told and "10.79.3.1:11600" in told

        self.eventually(both_are_told, "both announced")
        print(told, flush=True)
        gateway = next(line for line in told.splitlines() if "10.79.3.1:11600" in line)
        self.assertIn("gateway", gateway)
        alone = desk.ask("discover", "--json", "--source", "mdns", "--timeout", "5")
        self.assertEqual([(node["url"], node["sources"]) for node in json.loads(alone.stdout)],
                         [("http://10.79.2.1:11434", ["mdns"])], alone.stderr)
        deaf = desk.ask("discover", "--source", "subnets", "--source", "neighbours")
        self.assertNotIn("10.79.2.1 ", deaf.stdout)

    def test_a_daemon_that_comes_late_is_told_and_what_ends_is_taken_back(self):
        desk, box, _ = self.machines.values()
        with open(self.path / "log", "w") as log:
            box.sollol("up", "--listen", "0.0.0.0:0", "--node", "http://127.0.0.1:9", "--no-node-file", "--state-file",
                       "off", "--log-access", "off", stderr=log)
        told = lambda: (self.path / "log").read_text()
        self.eventually(lambda: "no Avahi answers" in told(), "the daemon is missed")
        desk.start_avahi()
        box.start_avahi()
        self.eventually(lambda: "announced: _sollol._tcp at port" in told(), "it is announced")
        port = told().split("_sollol._tcp at port ")[1].split()[0]
        self.assertNotEqual(port, "0")
        shown = lambda: desk.ask("discover", "--source", "mdns", "--timeout", "5").stdout
        self.eventually(lambda: f"10.79.2.1:{port}: a SOLLOL gateway" in shown(), "the gateway at the port that it got")
        box.run("kill", *box.run("pgrep", "-x", "sollol").stdout.split())  # of this machine alone
        self.eventually(lambda: "10.79.2.1" not in shown(), "nothing is announced any more")

    def test_without_avahi_nothing_is_missed(self):
        desk = self.machines["desk"]
        fleet = self.path / "node.toml"
        fleet.write_text('[[node]]\nname = "own"\nlisten = "0.0.0.0:11434"\nmodels = ["llama3.2"]\n')
        desk.sollol("sim", "--fleet", str(fleet), "--allow-remote", stderr=subprocess.DEVNULL)
        self.eventually(lambda: ":11434 " in desk.run("ss", "-Hltn").stdout, "a listener")
        found = desk.ask("discover", "--json")
        self.assertEqual([node["host"] for node in json.loads(found.stdout)], ["10.79.1.1"], found.stderr)


if __name__ == "__main__":
    hosts.enter()
    if not (shutil.which("dbus-daemon") and (shutil.which("avahi-daemon") or os.path.exists("/usr/sbin/avahi-daemon"))):
        print("skipped: dbus-daemon and avahi-daemon are needed")
        raise SystemExit(hosts.SKIPPED)
    unittest.main(verbosity=1)
