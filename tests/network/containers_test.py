"""Containers of this machine, as an engine on a unix socket tells: a network that nothing leads to,
whose container is found at its published port. Namespaces and engine are this test's own."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import hosts

SOLLOL = os.environ.get("SOLLOL_BIN", str(Path(__file__).resolve().parents[2] / "build/release/src/cli/sollol"))

# An engine: answers every request on the socket argv[1] with the file argv[2]; no file: says nothing.
ENGINE = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(50)
kept = []
while True:
    peer, _ = listener.accept()
    kept.append(peer)
    if len(sys.argv) < 3: continue
    peer.recv(65536)
    body = open(sys.argv[2], "rb").read()
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    peer.close()
"""
# What an engine's port forwarding does: argv[1]:argv[2] of the machine leads to argv[4]:argv[5] in the
# namespace of the process argv[3].
FORWARD = """
import asyncio, ctypes, os, socket, sys
libc = ctypes.CDLL(None)
here = os.open("/proc/self/ns/net", os.O_RDONLY)
there = os.open(f"/proc/{sys.argv[3]}/ns/net", os.O_RDONLY)
def inside():
    libc.setns(there, 0)
    made = socket.socket()
    libc.setns(here, 0)
    made.setblocking(False)
    return made
async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError: pass
    writer.close()
async def serve(reader, writer):
    other = inside()
    await asyncio.get_running_loop().sock_connect(other, (sys.argv[4], int(sys.argv[5])))
    reader2, writer2 = await asyncio.open_connection(sock=other)
    await asyncio.gather(pipe(reader, writer2), pipe(reader2, writer))
async def main():
    server = await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]))
    async with server: await server.serve_forever()
asyncio.run(main())
"""


class Containers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        cls.room = hosts.Host()
        lan = hosts.Switch(cls.room)
        cls.machine = hosts.Host()
        lan.plug(cls.machine, "eth0", "10.77.1.1/24")
        cls.neighbour = hosts.Host()  # on the LAN, at a port of its own: nobody looks there
        lan.plug(cls.neighbour, "eth0", "10.77.1.2/24")
        cls.container = hosts.Host()  # in a network that the machine has no interface on
        hosts.Switch(cls.room).plug(cls.container, "eth0", "10.88.0.2/16")
        for host, port, name in ((cls.container, 11434, "in a container"), (cls.neighbour, 8011, "neighbour")):
            fleet = cls.path / f"{port}.toml"
            fleet.write_text(f'[[node]]\nname = "{name}"\nlisten = "0.0.0.0:{port}"\nmodels = ["llama3.2"]\n')
            host.start(SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote", stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
            cls.wait_for_port(host, port)
        cls.machine.start(sys.executable, "-c", FORWARD, "0.0.0.0", "8011", str(cls.container.keeper.pid),
                          "10.88.0.2", "11434")
        cls.wait_for_port(cls.machine, 8011)
        (cls.path / "answer").write_text(json.dumps([
            {"Id": "f00d", "Names": ["/ollama"], "State": "running",
             "Ports": [{"IP": "0.0.0.0", "PrivatePort": 11434, "PublicPort": 8011, "Type": "tcp"}],
             "NetworkSettings": {"Networks": {"podman": {"IPAddress": "10.88.0.2"}, "far": {"IPAddress": "192.0.2.7"}}}}]))

    @classmethod
    def tearDownClass(cls):
        for host in (cls.machine, cls.neighbour, cls.container, cls.room):
            host.stop()
        cls.folder.cleanup()

    @staticmethod
    def wait_for_port(host, port):
        limit = time.monotonic() + 20
        while f":{port} " not in host.run("ss", "-Hltn").stdout:
            if time.monotonic() > limit:
                raise RuntimeError("nothing listens")
            time.sleep(0.01)

    def engine(self, *answer):
        """The environment of a machine with such an engine."""
        socket = self.path / f"engine{self.id().rpartition('.')[2][-60:]}"
        process = subprocess.Popen([sys.executable, "-c", ENGINE, str(socket), *answer])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        limit = time.monotonic() + 20
        while not socket.exists():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.01)
        return f"DOCKER_HOST=unix://{socket}"

    def discover(self, environment, *flags):
        done = self.machine.run("env", environment, SOLLOL, "discover", *flags, check=False)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return done.stdout

    def test_a_container_that_cannot_be_reached_is_found_at_its_published_port(self):
        engine = self.engine(str(self.path / "answer"))
        nodes = json.loads(self.discover(engine, "--json", "--timeout", "2"))
        self.assertEqual([(node["host"], node["port"], node["container"], node["sources"], node["this_machine"])
                          for node in nodes], [("10.77.1.1", "8011", "ollama", ["engine"], True)])
        self.assertIn("127.0.0.1:8011", nodes[0]["addresses"])
        print(self.discover(engine, "--verbose", "--timeout", "2"), flush=True)

    def test_it_is_not_asked_when_it_is_turned_off(self):
        engine = self.engine(str(self.path / "answer"))
        for flags in (("--no-auto-resolve-docker",), ("--source", "subnets", "--source", "localhost"),
                      ("--subnet", "10.77.1.0/24")):
            self.assertEqual(json.loads(self.discover(engine, "--json", *flags)), [], flags)

    def test_one_that_says_nothing_costs_no_more_than_the_timeout(self):
        said = self.discover(self.engine(), "--verbose")
        self.assertRegex(said, r"container engine .*: not heard")
        print(next(line for line in said.splitlines() if "addresses tried" in line), flush=True)

    def test_a_gateway_uses_it_and_answers_from_it(self):
        engine = self.engine(str(self.path / "answer"))
        gateway = self.machine.start("env", engine, SOLLOL, "up", "--listen", "127.0.0.1:11500", "--no-node-file",
                                     "--state-file", "off", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(gateway.wait)
        self.addCleanup(gateway.kill)
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 2}})
        ask = ("curl", "-s", "-m", "5", "-D", "-", "-o", "/dev/null", "http://127.0.0.1:11500/api/generate", "-d", body)
        limit = time.monotonic() + 20
        while "200 OK" not in (said := self.machine.run(*ask, check=False).stdout):
            self.assertLess(time.monotonic(), limit, said)
            time.sleep(0.05)


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
