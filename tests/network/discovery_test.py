"""Discovery on a network of machines: exactly the right nodes, each once. The machines are network
namespaces that this test makes; nothing else is ever touched."""

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

DECOY = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        try: self.wfile.write(b"hello")
        except OSError: pass
    def log_message(self, *_): pass
http.server.HTTPServer(("0.0.0.0", 11434), Page).serve_forever()
"""
SILENT = """
import socket, time
listener = socket.create_server(("0.0.0.0", 11434), backlog=100)
kept = []
while True: kept.append(listener.accept())
"""


class Network(unittest.TestCase):
    """A LAN 10.77.1.0/24, another link 10.77.2.0/24, and 10.77.3.0/24 behind a router of the LAN."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.machines = {}
        cls.room = hosts.Host()
        cls.lan, cls.second, cls.far = (hosts.Switch(cls.room) for _ in range(3))
        gateway = cls.machine("gateway", (cls.lan, "10.77.1.1/24"), (cls.second, "10.77.2.1/24"))
        for number, name in ((11, "one"), (17, "other"), (20, "shares"), (21, "shares too"), (14, "decoy"),
                             (15, "silent"), (12, "two")):
            cls.machine(name, (cls.lan, f"10.77.1.{number}/24"))
        cls.machine("both", (cls.lan, "10.77.1.13/24"), (cls.second, "10.77.2.13/24"))
        router = cls.machine("router", (cls.lan, "10.77.1.254/24"), (cls.far, "10.77.3.1/24"))
        far = cls.machine("far", (cls.far, "10.77.3.9/24"))
        far.run("ip", "route", "add", "default", "via", "10.77.3.1")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        gateway.run("ip", "route", "add", "10.77.3.0/24", "via", "10.77.1.254")
        # A machine that nothing comes back from.
        gateway.run("ip", "neigh", "add", "10.77.1.16", "lladdr", "02:00:00:00:00:16", "dev", "eth0",
                    "nud", "permanent")
        # Containers of the gateway's own machine.
        gateway.run("ip", "link", "add", "docker0", "type", "bridge")
        gateway.run("ip", "addr", "add", "172.18.0.1/16", "dev", "docker0")
        gateway.run("ip", "link", "set", "docker0", "up")
        cls.container = cls.machine("container")
        gateway.run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns",
                    str(cls.container.keeper.pid))
        gateway.run("ip", "link", "set", "veth0", "master", "docker0")
        gateway.run("ip", "link", "set", "veth0", "up")
        cls.container.run("ip", "addr", "add", "172.18.0.2/16", "dev", "eth0")
        cls.container.run("ip", "link", "set", "eth0", "up")

        for name in ("gateway", "one", "other", "both", "far", "container"):
            cls.node(name)
        cls.node("shares", store="nfs")
        cls.node("shares too", store="nfs")
        cls.node("two", ports=(11434, 11435), store="one folder")
        cls.machines["decoy"].start(sys.executable, "-c", DECOY)
        cls.machines["silent"].start(sys.executable, "-c", SILENT)
        for name in ("decoy", "silent"):
            cls.wait_for_port(cls.machines[name])

    @classmethod
    def tearDownClass(cls):
        for machine in [*cls.machines.values(), cls.room]:
            machine.stop()
        cls.folder.cleanup()

    @classmethod
    def machine(cls, name, *links):
        host = cls.machines[name] = hosts.Host()
        for index, (switch, address) in enumerate(links):
            switch.plug(host, f"eth{index}", address)
        return host

    @classmethod
    def node(cls, name, ports=(11434,), store=""):
        """An Ollama on that machine at each of the ports, on all its addresses."""
        text = ""
        for port in ports:
            text += f'[[node]]\nname = "{name} {port}"\nlisten = "0.0.0.0:{port}"\nmodels = ["llama3.2"]\n'
            text += f'store = "{store}"\n'
        fleet = Path(cls.folder.name) / f"{name}.toml".replace(" ", "-")
        fleet.write_text(text)
        with open(fleet.with_suffix(".log"), "w") as log:
            cls.machines[name].start(SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote", stdout=log, stderr=log)
        cls.wait_for_port(cls.machines[name])

    @staticmethod
    def wait_for_port(machine):
        limit = time.monotonic() + 20
        while ":11434 " not in machine.run("ss", "-Hltn").stdout:
            if time.monotonic() > limit:
                raise RuntimeError("nothing listens")
            time.sleep(0.01)

    def discover(self, *flags):
        # Longer than the default: this machine may have other things to do.
        done = self.machines["gateway"].run(SOLLOL, "discover", "--json", "--timeout", "2", *flags, check=False)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return {f"{node['host']}:{node['port']}": node for node in json.loads(done.stdout)}

    def gateway(self, *flags):
        """A gateway on the machine `gateway` that finds its nodes by itself."""
        process = self.machines["gateway"].start(
            SOLLOL, "up", "--listen", "127.0.0.1:11500", "--no-node-file", "--state-file", "off",
            "--discovery-interval", "1", "--health-interval", "0.1", *flags,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def nodes_of_gateway(self, state="healthy"):
        asked = self.machines["gateway"].run("curl", "-s", "-m", "5", "http://127.0.0.1:11500/sollol/v1/nodes",
                                             check=False)
        if asked.returncode != 0:
            return {}
        return {node["url"]: node for node in json.loads(asked.stdout)["nodes"] if node["state"] == state}

    def eventually(self, condition, what):
        limit = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), limit, f"{what}: {self.nodes_of_gateway()}")
            time.sleep(0.02)

    def test_a_gateway_finds_them_by_itself(self):
        began = time.monotonic()
        self.gateway()
        self.eventually(lambda: len(self.nodes_of_gateway()) == 8, "eight nodes")
        print(f"eight nodes healthy {time.monotonic() - began:.2f} s after the gateway was started", flush=True)
        urls = self.nodes_of_gateway().keys()
        self.assertIn("http://172.18.0.2:11434", urls)
        self.assertNotIn("http://127.0.0.1:11434", urls)

    def test_it_knows_which_nodes_share_a_machine(self):
        self.gateway("--discovery-ports", "11434,11435")
        self.eventually(lambda: len(self.nodes_of_gateway()) == 9, "nine nodes")
        ask = lambda: json.loads(self.machines["gateway"].run(
            "curl", "-s", "-m", "5", "http://127.0.0.1:11500/sollol/v1/locality").stdout)
        url_of = {node["name"]: url for url, node in self.nodes_of_gateway().items()}
        # Models are listed a moment after the node is healthy.
        self.eventually(lambda: len(ask()["hosts"]) == 7, "seven machines")
        found = ask()
        shared = {frozenset(url_of[name] for name in host["nodes"]) for host in found["hosts"] if len(host["nodes"]) > 1}
        self.assertEqual(shared, {
            frozenset({"http://10.77.1.1:11434", "http://172.18.0.2:11434"}),  # and its container
            frozenset({"http://10.77.1.12:11434", "http://10.77.1.12:11435"})})
        self.assertEqual(found["unique_physical_hosts"], 7)
        self.assertTrue(found["parallel"])
        self.assertEqual(found["width"], 7)
        print(self.machines["gateway"].run(SOLLOL, "nodes", "explain", "--gateway", "http://127.0.0.1:11500").stdout,
              flush=True)

    def test_a_node_with_two_interfaces_outlives_one(self):
        both = self.machines["both"]
        self.gateway()
        ways = {"http://10.77.1.13:11434", "http://10.77.2.13:11434"}
        self.eventually(lambda: ways & self.nodes_of_gateway().keys(), "the node")
        time.sleep(1.5)  # a look at the network, after which the other way is known
        taken = "eth0" if "http://10.77.1.13:11434" in self.nodes_of_gateway() else "eth1"
        both.run("ip", "link", "set", taken, "down")
        self.addCleanup(both.run, "ip", "link", "set", taken, "up")
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 2}})
        name = next(node["name"] for url, node in self.nodes_of_gateway().items() if url in ways)

        def answers():
            asked = self.machines["gateway"].run(
                "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"X-Sollol-Node: {name}",
                "http://127.0.0.1:11500/api/generate", "-d", body, check=False)
            return asked.stdout == "200"

        self.eventually(answers, "an answer by the other way")

    def test_a_machine_that_comes_later_is_found_and_one_that_leaves_is_forgotten(self):
        late = self.machine("late", (self.lan, "10.77.1.99/24"))
        self.gateway("--discovery-forget", "1", "--health-timeout", "0.5")
        self.eventually(lambda: len(self.nodes_of_gateway()) == 8, "eight nodes")
        self.node("late")
        self.eventually(lambda: "http://10.77.1.99:11434" in self.nodes_of_gateway(), "the late one")
        late.stop()
        self.eventually(lambda: "http://10.77.1.99:11434" not in
                        {**self.nodes_of_gateway(), **self.nodes_of_gateway("down")}, "the late one gone")
        del self.machines["late"]

    def test_all_nodes_are_found_each_once(self):
        table = self.machines["gateway"].run(SOLLOL, "discover", "--verbose", "--port", "11434", "--port", "11435")
        print(table.stdout, flush=True)
        nodes = self.discover("--port", "11434", "--port", "11435")
        both = {"10.77.1.13:11434", "10.77.2.13:11434"} & nodes.keys()
        self.assertEqual(len(both), 1, nodes.keys())
        self.assertEqual(nodes.keys() - both,
                         {"10.77.1.1:11434", "10.77.1.11:11434", "10.77.1.12:11434", "10.77.1.12:11435",
                          "10.77.1.17:11434", "10.77.1.20:11434", "10.77.1.21:11434", "172.18.0.2:11434"})

    def test_other_ways_to_a_node_are_kept(self):
        nodes = self.discover()
        multi_homed = nodes.get("10.77.1.13:11434") or nodes["10.77.2.13:11434"]
        self.assertEqual({multi_homed["host"] + ":11434", *multi_homed["addresses"]},
                         {"10.77.1.13:11434", "10.77.2.13:11434"})
        own = nodes["10.77.1.1:11434"]
        self.assertTrue(own["this_machine"])
        self.assertEqual(set(own["addresses"]), {"127.0.0.1:11434", "10.77.2.1:11434", "172.18.0.1:11434"})
        self.assertEqual(nodes["172.18.0.2:11434"]["container_network"], "docker0")
        self.assertEqual(nodes["10.77.1.20:11434"]["addresses"], [])
        self.assertRegex(nodes["10.77.1.20:11434"]["mac"], "^([0-9a-f]{2}:){5}[0-9a-f]{2}$")

    def test_what_is_behind_a_router_is_found_when_it_is_asked_for(self):
        nodes = self.discover("--subnet", "10.77.3.0/24")
        self.assertEqual(nodes.keys(), {"10.77.3.9:11434"})
        self.assertEqual(nodes["10.77.3.9:11434"]["mac"], "")

    def test_others_on_the_port_are_named_and_left_alone(self):
        done = self.machines["gateway"].run(SOLLOL, "discover", "--verbose", "--subnet", "10.77.1.0/28")
        self.assertRegex(done.stdout, r"10\.77\.1\.14:11434: no Ollama: .*HTTP 200")
        done = self.machines["gateway"].run(SOLLOL, "discover", "--verbose", "--subnet", "10.77.1.15/32", check=False)
        self.assertIn("10.77.1.15:11434: no Ollama: accepts and says nothing in time", done.stdout)
        self.assertEqual(done.returncode, 3)

    def test_the_first_is_enough_when_it_is_asked_for(self):
        self.assertEqual(len(self.discover("--first")), 1)

    def test_localhost_can_be_left_out(self):
        own = self.discover("--exclude-localhost")["10.77.1.1:11434"]
        self.assertNotIn("127.0.0.1:11434", own["addresses"])


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
