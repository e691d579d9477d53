"""sollol doctor: each finding on a network of machines that has the trouble. The machines are network
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

# An Ollama whose clock is an hour ahead.
FAST_CLOCK = """
import email.utils, http.server, time
class Node(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/api/version": b'{"version":"0.33.0"}', "/api/tags": b'{"models":[]}',
                "/api/ps": b'{"models":[]}'}.get(self.path, b"Ollama is running")
        self.send_response_only(200)
        self.send_header("Date", email.utils.formatdate(time.time() + 3600, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 11434), Node).serve_forever()
"""
# Passes connections on, as a tunnel does: PORT HOST
RELAY = """
import socket, sys, threading
def copy(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    for end in (a, b):
        try: end.shutdown(socket.SHUT_RDWR)
        except OSError: pass
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=100)
while True:
    client, _ = listener.accept()
    node = socket.create_connection((sys.argv[2], 11434))
    for pair in ((client, node), (node, client)): threading.Thread(target=copy, args=pair, daemon=True).start()
"""
LISTENER = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
kept = []
while True: kept.append(listener.accept())
"""


class Doctor(unittest.TestCase):
    """`here` is the machine of the gateway, 10.78.1.1 on a LAN 10.78.1.0/26: the kernel has room for 1,024
    neighbours, those that one test looked for in vain included, so that a wider one would spoil the next."""

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.machines = []
        self.room = self.host()
        self.lan = hosts.Switch(self.room)
        self.here = self.machine("10.78.1.1/26")

    def tearDown(self):
        for machine in self.machines:
            machine.stop()

    def host(self):
        self.machines.append(hosts.Host())
        return self.machines[-1]

    def machine(self, address):
        machine = self.host()
        self.lan.plug(machine, "eth0", address)
        return machine

    def wait_for_port(self, machine, port):
        limit = time.monotonic() + 20
        while f":{port} " not in machine.run("ss", "-Hltn").stdout:
            self.assertLess(time.monotonic(), limit, "nothing listens")
            time.sleep(0.01)

    def node(self, machine, listen="0.0.0.0:11434", model='"llama3.2"', **fields):
        """An Ollama on that machine."""
        number = len(list(self.folder.iterdir()))
        fleet = self.folder / f"{number}.toml"
        text = f'[[node]]\nname = "node{number}"\nlisten = "{listen}"\nmodels = [{model}]\n'
        for key, value in fields.items():
            text += f"{key} = {json.dumps(value)}\n"
        fleet.write_text(text)
        with open(fleet.with_suffix(".log"), "w") as log:
            machine.start(SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote", stdout=log, stderr=log)
        self.wait_for_port(machine, listen.rpartition(":")[2])

    def script(self, machine, port, text, *words):
        machine.start(sys.executable, "-c", text, *words)
        self.wait_for_port(machine, port)

    def load(self, machine, url):
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 1}})
        machine.run("curl", "-sf", "-m", "20", "-o", "/dev/null", url + "/api/generate", "-d", body)

    def node_file(self, *urls, **fields):
        path = self.folder / "nodes.json"
        path.write_text(json.dumps({"nodes": [{"url": url, **fields} for url in urls]}))
        return str(path)

    def doctor(self, *flags, env=(), shell=""):
        """The exit code, and the findings by check."""
        words = [SOLLOL, "doctor", "--json", *flags]
        if shell:
            words = ["bash", "-c", shell + '; exec "$@"', "-", *words]
        home = ["env", "-u", "OLLAMA_HOST", f"HOME={self.folder}", "SOLLOL_LIMITS_CONNECTIONS=1000", *env]
        done = self.here.run(*home, *words, check=False)
        self.assertTrue(done.stdout, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["exit_code"], done.returncode)
        self.answer = answer
        return done.returncode

    def finding(self, check, text, mend="", level=None):
        """The one finding of that check with these words."""
        found = [f for f in self.answer["findings"]
                 if f["check"] == check and text in f["text"] and level in (None, f["level"])]
        self.assertTrue(found, f"no {check} finding says '{text}': {json.dumps(self.answer, indent=1)}")
        if mend:
            self.assertTrue(any(mend in one for one in found[0]["mends"]), found[0])
        return found[0]

    def wrong(self):
        return sorted({f["check"] for f in self.answer["findings"] if f["needs_mending"]})

    # --- nothing wrong ---

    def test_nothing_is_wrong(self):
        for number in (2, 3):
            self.node(self.machine(f"10.78.1.{number}/26"))
        self.assertEqual(self.doctor(), 0, self.answer if hasattr(self, "answer") else "")
        self.assertEqual(self.wrong(), [])
        self.finding("parallel", "2 machines", level="ok")
        self.finding("nodes", "2 nodes answer", level="ok")
        print(self.here.run("env", f"HOME={self.folder}", "SOLLOL_LIMITS_CONNECTIONS=1000", SOLLOL, "doctor").stdout,
              flush=True)

    def test_wrong_usage(self):
        done = self.here.run(SOLLOL, "doctor", "--subnet", "8.8.8.0/24", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("public addresses are never scanned", done.stderr)

    # --- no nodes ---

    def test_nothing_listens_anywhere(self):
        self.assertEqual(self.doctor(), 3)
        self.finding("nodes", "nothing listens on port 11434 of this machine", "ollama serve")

    def test_ollama_listens_on_loopback_only(self):
        self.node(self.here, "127.0.0.1:11434")
        self.assertEqual(self.doctor("--exclude-localhost"), 3)
        self.finding("nodes", "listens on 127.0.0.1:11434 only", "OLLAMA_HOST=0.0.0.0")

    def test_a_machine_refuses_the_port(self):
        self.node(self.machine("10.78.1.8/26"), "127.0.0.1:11434")
        self.assertEqual(self.doctor(), 3)
        self.finding("nodes", "refuses port 11434 (10.78.1.8)", "OLLAMA_HOST=0.0.0.0")

    def test_a_firewall_drops_connections(self):
        self.here.run("ip", "neigh", "add", "10.78.1.16", "lladdr", "02:00:00:00:00:16", "dev", "eth0",
                      "nud", "permanent")
        self.assertEqual(self.doctor(), 3)
        self.finding("nodes", "time out (10.78.1.16): a firewall", "ufw allow 11434/tcp")

    def test_ollama_has_another_port(self):
        self.node(self.machine("10.78.1.7/26"), "0.0.0.0:11436")
        self.assertEqual(self.doctor(), 3)
        self.finding("nodes", "Ollama answers at 10.78.1.7:11436", "--discovery-ports 11434,11436")

    def test_nothing_looks_for_the_nodes(self):
        self.node(self.machine("10.78.1.2/26"))
        self.assertEqual(self.doctor(env=["SOLLOL_AUTO_DISCOVER=false"]), 3)
        self.finding("nodes", "are there (10.78.1.2:11434) and are not looked for", "unset SOLLOL_AUTO_DISCOVER")

    def test_the_subnet_is_the_wrong_one(self):
        self.assertEqual(self.doctor(env=["OLLAMA_HOST=10.99.0.5"]), 3)
        self.finding("nodes", "outside the networks of this machine (10.78.1.0/26)", "10.99.0.5")

    # --- more nodes than there are ---

    def test_localhost_stands_beside_the_real_address(self):
        self.node(self.here)
        file = self.node_file("http://10.78.1.1:11434", "http://localhost:11434")
        self.assertEqual(self.doctor("--node-file", file), 1)
        self.finding("duplicates", "http://localhost:11434", f"take http://localhost:11434 out of node file {file}")

    def test_an_entry_leads_nowhere(self):
        self.node(self.machine("10.78.1.2/26"))
        file = self.node_file("http://10.78.1.2:11434", "http://10.78.1.1:11499")
        self.assertEqual(self.doctor("--node-file", file), 1)
        self.finding("entries", "http://10.78.1.1:11499: nothing listens there", "out of node file")

    # --- parallel ---

    def test_two_machines_hide_behind_localhost(self):
        for number, version in ((2, "0.33.0"), (3, "0.32.1")):
            self.node(self.machine(f"10.78.1.{number}/26"), version=version)
            self.script(self.here, 11500 + number, RELAY, str(11500 + number), f"10.78.1.{number}")
        file = self.node_file("http://localhost:11502", "http://localhost:11503")
        self.assertEqual(self.doctor("--node-file", file, "--subnet", "127.0.9.0/30"), 1)
        self.finding("parallel", "named by localhost", "http://localhost:11502,host=NAME")

    def test_the_configuration_calls_two_machines_one(self):
        for number in (2, 3):
            self.node(self.machine(f"10.78.1.{number}/26"))
        file = self.node_file("http://10.78.1.2:11434", "http://10.78.1.3:11434", host="localhost")
        self.assertEqual(self.doctor("--node-file", file), 1)
        self.finding("parallel", "since the configuration says so", "give each a `host` of its own")

    def test_two_nodes_share_a_machine(self):
        machine = self.machine("10.78.1.2/26")
        self.node(machine)
        self.node(machine, "0.0.0.0:11435")
        self.assertEqual(self.doctor("--port", "11434", "--port", "11435"), 0)
        self.finding("speed", "share one machine", "sollol nodes measure", level="note")

    def test_two_nodes_share_a_cpu(self):
        machine = self.machine("10.78.1.2/26")
        for port in (11434, 11435):
            self.node(machine, f"0.0.0.0:{port}", memory="1 MB")
            self.load(machine, f"http://127.0.0.1:{port}")
        self.doctor("--port", "11434", "--port", "11435")
        self.finding("speed", "on the CPU of")

    def test_a_node_is_far(self):
        self.node(self.machine("10.78.1.2/26"), "0.0.0.0:11439", network_delay="300ms")
        self.assertEqual(self.doctor("--node-file", self.node_file("http://10.78.1.2:11439")), 1)
        self.finding("speed", "ms away", "priority=1")

    def test_a_model_does_not_fit(self):
        machine = self.machine("10.78.1.2/26")
        self.node(machine, memory="1 GB", model='{ name = "llama3.2", size = "2 GB", load_time = "0.1s" }')
        self.load(machine, "http://127.0.0.1:11434")
        self.assertEqual(self.doctor(), 1)
        self.finding("speed", "does not fit into the GPU", "OLLAMA_CONTEXT_LENGTH=")

    def test_tasks_are_too_small(self):
        self.node(self.machine("10.78.1.2/26"), network_delay="40ms",
                  model='{ name = "llama3.2", load_time = "1ms", decode_rate = 10000, prefill_rate = 100000 }')
        self.gateway("--node", "http://10.78.1.2:11434")
        for _ in range(5):
            self.load(self.here, "http://127.0.0.1:11434")
        self.assertEqual(self.doctor("--no-scan"), 1)
        self.finding("speed", "too small to be worth spreading", "/api/embed")

    # --- discovery ---

    def test_discovery_is_slow(self):
        self.node(self.machine("10.78.1.2/26"))
        second = hosts.Switch(self.room)
        second.plug(self.here, "eth1", "10.78.2.1/24")
        self.assertEqual(self.doctor("--timeout", "1.5"), 1)
        self.finding("discovery", "may take 1.5 s", "--discovery-timeout 0.5")
        self.finding("discovery", "10.78.2.0/24 (eth1): none of its 254 addresses",
                     "--discovery-subnets 10.78.1.0/26")

    # --- the fleet ---

    def test_versions_contexts_and_models_differ(self):
        for number, digest in ((2, "a"), (3, "b")):
            machine = self.machine(f"10.78.1.{number}/26")
            self.node(machine, version=f"0.3{number}.0", context_length=4096 * number,
                      model=f'{{ name = "llama3.2", digest = "{digest * 64}", load_time = "1ms" }}')
            self.load(machine, "http://127.0.0.1:11434")
        self.assertEqual(self.doctor(), 1)
        self.finding("versions", "0.32.0 at", "to 0.33.0")
        self.finding("contexts", "8192 at", "OLLAMA_CONTEXT_LENGTH=")
        self.finding("models", "llama3.2", "ollama pull llama3.2")

    def test_a_clock_is_wrong(self):
        self.node(self.machine("10.78.1.2/26"))
        self.script(self.machine("10.78.1.3/26"), 11434, FAST_CLOCK)
        self.assertEqual(self.doctor(), 1)
        self.finding("clock", "s ahead of this machine's", "timedatectl set-ntp true")

    # --- this machine ---

    def test_too_few_files(self):
        self.node(self.machine("10.78.1.2/26"))
        self.assertEqual(self.doctor(shell="ulimit -n 600"), 1)
        self.finding("files", "a process may open 600 files", "LimitNOFILE=")

    def test_an_ollama_has_the_port(self):
        self.node(self.here, "127.0.0.1:11434")
        self.assertEqual(self.doctor(), 1)
        taken = self.finding("port", "is taken by an Ollama", "--listen 127.0.0.1:11435")
        self.assertRegex(taken["text"], r"sollol \(pid \d+\)")

    def test_another_program_has_the_port(self):
        self.node(self.machine("10.78.1.2/26"))
        self.script(self.here, 11434, LISTENER, "127.0.0.1", "11434")
        self.assertEqual(self.doctor(), 1)
        self.finding("port", "taken by another program", "--listen 127.0.0.1:11435")

    # --- a gateway ---

    def gateway(self, *flags):
        self.here.start("env", f"HOME={self.folder}", SOLLOL, "up", "--no-node-file", "--state-file", "off",
                        "--health-interval", "0.1", *flags, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for_port(self.here, 11434)
        limit = time.monotonic() + 20
        while True:
            asked = self.here.run("curl", "-s", "-m", "5", "http://127.0.0.1:11434/sollol/v1/status", check=False)
            if asked.returncode == 0 and json.loads(asked.stdout)["nodes_healthy"] > 0:
                return
            self.assertLess(time.monotonic(), limit, asked)
            time.sleep(0.02)

    def test_a_gateway_tells_its_nodes(self):
        self.node(self.machine("10.78.1.2/26"))
        self.gateway("--node", "http://10.78.1.2:11434,name=good", "--node", "http://10.78.1.1:11499,name=gone")
        self.assertEqual(self.doctor("--no-scan"), 1)
        self.assertEqual(self.wrong(), ["nodes"])
        self.finding("gateway", "answers", level="ok")
        self.finding("nodes", "gone (http://10.78.1.1:11499) cannot be used", "sollol nodes remove gone")
        self.finding("port", "served by a SOLLOL gateway")
        self.here.run(SOLLOL, "nodes", "remove", "gone")
        self.assertEqual(self.doctor("--no-scan"), 0)

    def test_a_node_that_the_gateway_does_not_have(self):
        for number in (2, 3):
            self.node(self.machine(f"10.78.1.{number}/26"))
        self.gateway("--node", "http://10.78.1.2:11434")
        self.assertEqual(self.doctor(), 0)
        self.finding("nodes", "none of the gateway's nodes: 10.78.1.3:11434", "sollol nodes add", level="note")

    def test_one_server_is_two_nodes_of_a_gateway(self):
        self.node(self.here, "0.0.0.0:11435")
        self.gateway("--node", "http://localhost:11435,name=local", "--node", "http://10.78.1.1:11435,name=real")
        self.doctor("--no-scan")
        names = {node["name"] for node in json.loads(self.here.run(
            "curl", "-s", "http://127.0.0.1:11434/sollol/v1/nodes").stdout)["nodes"]}
        if names == {"local", "real"}:  # a gateway that puts them together has nothing to be told
            self.finding("duplicates", "are one server, counted as two nodes", "sollol nodes remove local")

    def test_the_gateway_that_was_named_is_not_there(self):
        self.node(self.machine("10.78.1.2/26"))
        self.assertEqual(self.doctor("--gateway", "http://127.0.0.1:11999"), 1)
        self.finding("gateway", "no gateway answers at http://127.0.0.1:11999", "sollol up")


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
