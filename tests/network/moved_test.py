"""Nodes that change their address, and nodes that sleep. The machines are network namespaces that this
test makes."""

import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import hosts

SOLLOL = os.environ.get("SOLLOL_BIN", str(Path(__file__).resolve().parents[2] / "build/release/src/cli/sollol"))


class Moved(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        self.room = self.host()
        self.lan = hosts.Switch(self.room)
        self.machine = self.host()
        self.lan.plug(self.machine, "eth0", "10.77.1.1/28")
        self.laptop = self.node("laptop", "10.77.1.5/28")
        self.node("other", "10.77.1.6/28")

    def host(self):
        made = hosts.Host()
        self.addCleanup(made.stop)
        return made

    def node(self, name, address, store=""):
        host = self.host()
        self.lan.plug(host, "eth0", address)
        fleet = self.path / f"{name}.toml"
        fleet.write_text(f'[[node]]\nname = "{name}"\nlisten = "0.0.0.0:11434"\nmodels = ["llama3.2"]\nstore = "{store}"\n')
        host.start(SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote", stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
        self.eventually(lambda: ":11434 " in host.run("ss", "-Hltn").stdout, "a listener")
        return host

    def gateway(self):
        log = open(self.path / "log", "w")
        self.addCleanup(log.close)
        process = self.machine.start(
            SOLLOL, "up", "--listen", "127.0.0.1:11500", "--no-node-file", "--state-file", "off",
            "--discovery-interval", "1", "--health-interval", "0.1", "--health-timeout", "0.5",
            "--log-access", "off", stdout=subprocess.DEVNULL, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def nodes(self):
        asked = self.machine.run("curl", "-s", "-m", "5", "http://127.0.0.1:11500/sollol/v1/nodes", check=False)
        return {} if asked.returncode != 0 else {
            node["name"]: (node["url"], node["state"]) for node in json.loads(asked.stdout)["nodes"]}

    def eventually(self, condition, what):
        limit = time.monotonic() + 20
        while not condition():
            log = self.path / "log"
            self.assertLess(time.monotonic(), limit, f"{what}: {log.exists() and (self.nodes(), log.read_text())}")
            time.sleep(0.02)

    def answers(self, name):
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 2}})
        asked = self.machine.run("curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                                 f"X-Sollol-Node: {name}", "http://127.0.0.1:11500/api/generate", "-d", body, check=False)
        return asked.stdout == "200"

    def both_are_known(self):
        self.gateway()
        self.eventually(lambda: self.nodes() == {"10.77.1.5": ("http://10.77.1.5:11434", "healthy"),
                                                 "10.77.1.6": ("http://10.77.1.6:11434", "healthy")}, "both nodes")
        self.eventually(lambda: self.answers("10.77.1.5"), "an answer")

    def moved_to(self, address):
        self.eventually(lambda: self.nodes() == {"10.77.1.5": (f"http://{address}:11434", "healthy"),
                                                 "10.77.1.6": ("http://10.77.1.6:11434", "healthy")}, "the move")
        self.assertTrue(self.answers("10.77.1.5"))
        print(next(line for line in (self.path / "log").read_text().splitlines() if "has moved" in line), flush=True)

    def test_a_new_lease_leaves_it_the_same_node(self):
        self.both_are_known()
        self.laptop.run("ip", "addr", "flush", "dev", "eth0")
        self.laptop.run("ip", "addr", "add", "10.77.1.9/28", "dev", "eth0")
        self.moved_to("10.77.1.9")
        self.assertIn("the same MAC address", (self.path / "log").read_text())

    def test_another_card_leaves_it_the_same_node(self):
        self.both_are_known()
        self.laptop.run("ip", "link", "set", "eth0", "down")
        self.laptop.run("ip", "addr", "flush", "dev", "eth0")
        self.laptop.run("ip", "link", "set", "eth0", "address", "02:00:00:00:77:07")
        self.laptop.run("ip", "addr", "add", "10.77.1.10/28", "dev", "eth0")
        self.laptop.run("ip", "link", "set", "eth0", "up")
        self.moved_to("10.77.1.10")
        self.assertIn("the same store of models", (self.path / "log").read_text())
        # Whoever is given the old address is another node.
        heir = self.node("heir", "10.77.1.5/28")
        heir.run("curl", "-s", "-m", "1", "http://10.77.1.1:9/", check=False)  # whoever gets a lease speaks first
        self.eventually(lambda: self.nodes().get("10.77.1.5-2") == ("http://10.77.1.5:11434", "healthy"), "the heir")
        self.assertEqual(self.nodes()["10.77.1.5"][0], "http://10.77.1.10:11434")

    def test_another_machine_with_the_same_store_is_another_node_while_the_first_answers(self):
        self.node("shares", "10.77.1.7/28", store="nfs")
        self.gateway()
        self.eventually(lambda: len(self.nodes()) == 3, "three nodes")
        self.node("shares too", "10.77.1.8/28", store="nfs")
        self.eventually(lambda: self.nodes().get("10.77.1.8", ("", ""))[1] == "healthy", "the fourth")
        self.assertEqual(self.nodes()["10.77.1.7"], ("http://10.77.1.7:11434", "healthy"))

    def test_a_machine_that_sleeps_is_down_and_back_when_it_wakes(self):
        self.both_are_known()
        state = lambda: self.nodes().get("10.77.1.5", ("", ""))[1]
        self.laptop.run("ip", "link", "set", "eth0", "down")
        slept = time.monotonic()
        self.eventually(lambda: state() == "down", "down")
        down = time.monotonic() - slept
        time.sleep(2)  # probes have failed for a while
        self.laptop.run("ip", "link", "set", "eth0", "up")
        woke = time.monotonic()
        self.eventually(lambda: state() == "healthy", "back")
        print(f"down {down:.2f} s after it fell asleep, back {time.monotonic() - woke:.2f} s after it woke", flush=True)
        self.assertTrue(self.answers("10.77.1.5"))


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
