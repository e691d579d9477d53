"""Machines that sleep and are woken by a magic packet. The machines are network namespaces that this
test makes; one that sleeps has no address, and a card that listens."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import hosts

SOLLOL = os.environ.get("SOLLOL_BIN", str(Path(__file__).resolve().parents[2] / "build/release/src/cli/sollol"))
URL = "http://127.0.0.1:11500"

# A card: prints a line for each magic packet on the wire that is for it.
CARD = """
import socket, sys
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("eth0", 0))
print("listens", flush=True)
while True:
    frame = wire.recv(2048)
    if frame[:6] == b"\\xff" * 6 and frame.endswith(b"\\xff" * 6 + mac * 16):
        print("woken", flush=True)
"""


class Sleeper:
    """A node's machine that can be put to sleep."""

    def __init__(self, test, lan, address):
        self.host = test.host()
        self.address = address
        lan.plug(self.host, "eth0", address)
        self.mac = json.loads(self.host.run("ip", "-j", "link", "show", "eth0").stdout)[0]["address"]
        self.fleet = test.fleet("sleeper")
        self.card = self.host.start(sys.executable, "-c", CARD, self.mac, stdout=subprocess.PIPE, text=True)
        self.card.stdout.readline()
        self.packets = 0
        self.wakes = True
        self.boot()
        threading.Thread(target=self.listen, daemon=True).start()

    def boot(self):
        self.node = self.host.start(SOLLOL, "sim", "--fleet", self.fleet, "--allow-remote",
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sleep(self):
        self.node.kill()
        self.node.wait()
        self.host.run("ip", "addr", "flush", "dev", "eth0")

    def listen(self):
        with self.card.stdout as packets:
            for _ in packets:
                self.packets += 1
                if self.wakes and self.packets == 1:
                    self.host.run("ip", "addr", "add", self.address, "dev", "eth0")
                    self.boot()


class Wake(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        room = self.host()
        self.lan = hosts.Switch(room)
        self.machine = self.host()
        self.lan.plug(self.machine, "eth0", "10.77.1.1/28")
        self.sleeper = Sleeper(self, self.lan, "10.77.1.5/28")
        self.wake_flag = f"http://10.77.1.5:11434,name=sleeper,mac={self.sleeper.mac},wake=true"

    def host(self):
        made = hosts.Host()
        self.addCleanup(made.stop)
        return made

    def fleet(self, name, more=""):
        path = self.path / f"{name}.toml"
        path.write_text(f'[[node]]\nname = "{name}"\nlisten = "0.0.0.0:11434"\nmodels = ["llama3.2"]\n{more}')
        return str(path)

    def gateway(self, *flags):
        with open(self.path / "log", "a") as log:
            process = self.machine.start(
                SOLLOL, "up", "--listen", "127.0.0.1:11500", "--state-file", str(self.path / "state.json"),
                "--health-interval", "0.1", "--health-timeout", "0.5", "--log-access", "off", *flags,
                stdout=subprocess.DEVNULL, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def ask(self, path, *flags):
        asked = self.machine.run("curl", "-s", "-m", "30", URL + path, *flags, check=False)
        return asked.stdout if asked.returncode == 0 else ""

    def node(self, name="sleeper"):
        nodes = json.loads(self.ask("/sollol/v1/nodes") or '{"nodes": []}')["nodes"]
        return next((node for node in nodes if node["name"] == name), {"state": "absent", "models": []})

    def generate(self):
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 2}})
        return self.ask("/api/generate", "-d", body, "-o", "/dev/null", "-w", "%{http_code} %header{x-sollol-node}")

    def eventually(self, condition, what):
        limit = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), limit, f"{what}: {self.node()} {(self.path / 'log').read_text()}")
            time.sleep(0.02)

    def falls_asleep(self):
        self.eventually(lambda: self.node()["state"] == "healthy" and self.node()["models"], "a healthy node")
        self.sleeper.sleep()
        self.eventually(lambda: self.node()["state"] == "down", "down")

    def test_a_request_that_nobody_else_can_serve_wakes_it_and_is_answered(self):
        self.gateway("--no-node-file", "--node", self.wake_flag)
        self.falls_asleep()
        self.assertEqual(self.sleeper.packets, 0, "nobody wants it")
        began = time.monotonic()
        self.assertEqual(self.generate(), "200 sleeper", (self.path / "log").read_text())
        print(f"answered {time.monotonic() - began:.2f} s after it was asked of a machine that slept", flush=True)
        self.assertEqual(self.sleeper.packets, 1)
        self.assertEqual(self.node()["wakes"], 1)
        self.assertIn('sollol_node_wakes_total{node="sleeper"} 1', self.ask("/metrics"))
        self.assertIn("1 magic packet sent to wake it",
                      self.machine.run(SOLLOL, "nodes", "--gateway", URL).stdout)

    def test_it_sleeps_on_while_another_node_will_do(self):
        desk = self.host()
        self.lan.plug(desk, "eth0", "10.77.1.6/28")
        desk.start(SOLLOL, "sim", "--fleet", self.fleet("desk"), "--allow-remote", stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
        # Of a worse priority: it is used all the same while it is free.
        self.gateway("--no-node-file", "--node", self.wake_flag, "--node",
                     "http://10.77.1.6:11434,name=desk,priority=1")
        self.eventually(lambda: self.node("desk")["state"] == "healthy", "the other node")
        self.falls_asleep()
        for _ in range(3):
            self.assertEqual(self.generate(), "200 desk")
        self.assertEqual(self.node()["wakes"], 0)
        self.assertEqual(self.sleeper.packets, 0)

    def test_nobody_waits_long_for_one_that_does_not_wake(self):
        self.sleeper.wakes = False
        self.gateway("--no-node-file", "--node", self.wake_flag, "--discovery-wake-time", "3",
                     "--discovery-wake-interval", "1")
        self.falls_asleep()
        began = time.monotonic()
        self.assertEqual(self.generate().split()[0], "503")
        waited = time.monotonic() - began
        print(f"given up after {waited:.2f} s and {self.node()['wakes']} magic packets", flush=True)
        self.assertGreater(waited, 2.5)
        sent = self.node()["wakes"]
        self.assertIn(sent, (2, 3))
        self.eventually(lambda: self.sleeper.packets == sent, "the packets that are counted are on the wire")
        self.assertEqual(self.generate().split()[0], "503")
        self.assertEqual(self.node()["wakes"], sent, "it is let be")
        self.assertIn("did not come in spite of magic packets", (self.path / "log").read_text())

    def test_a_gateway_that_starts_while_it_sleeps_knows_it_from_the_files(self):
        file = self.path / "nodes.json"
        file.write_text(json.dumps({"nodes": [
            {"url": "http://10.77.1.5:11434", "name": "sleeper", "mac": self.sleeper.mac, "wake": True}]}))
        flags = ("--node-file", str(file), "--discovery-interval", "1", "--discovery-subnets", "10.77.1.0/28")
        first = self.gateway(*flags)
        self.eventually(lambda: self.node()["state"] == "healthy" and self.node()["models"], "found")
        self.assertEqual(self.generate(), "200 sleeper")
        first.send_signal(signal.SIGTERM)
        first.wait()
        self.sleeper.sleep()
        self.gateway(*flags)
        self.eventually(lambda: self.node()["state"] == "down", "a node that is not found")
        self.assertEqual(self.generate(), "200 sleeper", (self.path / "log").read_text())
        self.assertEqual(self.sleeper.packets, 1)


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
