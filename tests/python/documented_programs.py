"""The programs that users have, as they stand in the documents, on a network of machines. The machines are network
namespaces that this test makes; nothing else is ever touched."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "network"))
import hosts  # noqa: E402

ROOT = HERE.parents[1]
SOLLOL = os.environ.get("SOLLOL_BIN", str(ROOT / "build/release/src/cli/sollol"))
PROGRAMS = HERE / "programs"


class Programs(unittest.TestCase):
    """The program's machine is 10.9.66.1; 10.9.66.154 and .155, which is gpu-node, are the others. Ollama runs on all
    three, on the program's own on all of its addresses."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        names = Path(cls.folder.name, "hosts")
        names.write_text("127.0.0.1 localhost\n10.9.66.155 gpu-node\n")
        cls.home = Path(cls.folder.name, "home")
        cls.home.mkdir()
        fleet = Path(cls.folder.name, "fleet.toml")
        fleet.write_text('[[node]]\nname = "node"\nlisten = "0.0.0.0:11434"\n'
                         'models = [{ name = "llama3.2", decode_rate = 5000, load_time = "10ms" }]\n')
        cls.room = hosts.Host()
        lan = hosts.Switch(cls.room)
        cls.own, *cls.others = (hosts.Host(f"mount --bind {names} /etc/hosts") for _ in range(3))
        for number, machine in zip((1, 154, 155), (cls.own, *cls.others)):
            lan.plug(machine, "eth0", f"10.9.66.{number}/24")
            start_node(machine, fleet)

    @classmethod
    def tearDownClass(cls):
        for machine in (cls.own, *cls.others, cls.room):
            machine.stop()
        cls.folder.cleanup()

    def setUp(self):
        self.node_file = self.home / ".synapticllamas_nodes.json"
        self.node_file.write_text(json.dumps({"nodes": [
            {"url": "http://10.9.66.154:11434", "name": "known", "priority": 5},
            {"url": "http://10.9.66.200:11434", "name": "away", "priority": 7}]}))

    def run_program(self, *names, then="", **environment):
        """What the programs print, one after the other in one interpreter, and then what `then` does."""
        text = "\n".join([*((PROGRAMS / f"{name}.py").read_text() for name in names), then])
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("OLLAMA_", "SOLLOL_"))}
        done = subprocess.run(self.own.command(sys.executable, "-c", text), capture_output=True, text=True,
                              env={**kept, "HOME": str(self.home), **environment}, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_registry(self):
        lines = self.run_program("registry")
        found = {f"http://10.9.66.{number}:11434" for number in (1, 154, 155)}
        self.assertEqual(len(lines), 4, lines)  # gpu-node is 10.9.66.155, which is there already
        self.assertEqual({line.split()[0] for line in lines}, found | {"http://10.9.66.200:11434"})
        self.assertIn("http://10.9.66.200:11434 away 7", lines)
        saved = {node["url"] for node in json.loads(self.node_file.read_text())["nodes"]}
        self.assertEqual(saved, found | {"http://10.9.66.200:11434"})

    def test_registry_that_discovers_at_once_and_logs_the_duplicate(self):
        lines = self.run_program(then="""
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
from node_registry import NodeRegistry
print(sorted(NodeRegistry(auto_discover=True).nodes))
""")
        urls = ["http://10.9.66.154:11434", "http://10.9.66.155:11434", "http://10.9.66.1:11434"]
        self.assertEqual(lines[-1], str(urls))
        self.assertTrue(any("127.0.0.1:11434 is 10.9.66.1:11434" in line for line in lines), lines)

    def test_discovery(self):
        lines = self.run_program("discovery", then="print(sorted(nodes, key=str))")
        self.assertEqual(lines, [str([{"host": f"10.9.66.{number}", "port": "11434"} for number in (1, 154, 155)])])

    def test_discovery_turned_off(self):
        self.assertEqual(self.run_program("discovery", then="print(nodes)", SOLLOL_AUTO_DISCOVER="false"), ["[]"])

    def test_the_node_of_the_environment_comes_first(self):
        lines = self.run_program("discovery", then="print(nodes[0], len(nodes))", OLLAMA_HOST="10.9.66.155")
        self.assertEqual(lines, [str({"host": "10.9.66.155", "port": "11434"}) + " 3"])

    def test_pool(self):
        lines = self.run_program("pool", then="""
print(pool.count_unique_physical_hosts(), pool.should_use_parallel_execution(num_tasks=3))
print(pool.chat("llama3.2", [{"role": "user", "content": "Hello"}])["done"])
""")
        self.assertEqual(lines, ["1 False", "True"])

    def test_pool_that_finds_its_nodes(self):
        lines = self.run_program(then="""
from sollol.pool import OllamaPool
pool = OllamaPool()
print(pool.count_unique_physical_hosts(), pool.should_use_parallel_execution(num_tasks=3), len(pool.nodes))
print(len(OllamaPool.auto_configure().nodes))
""")
        self.assertEqual(lines, ["3 True 3", "3"])

    def test_router(self):
        lines = self.run_program("pool", "router", then="""
print(router.coordinator_base_port, router.rpc_backends)
print(router.chat("llama3.2", [{"role": "user", "content": "Hello"}])["done"])
""")
        self.assertEqual(lines, ["18080 [{'host': '10.9.66.154', 'port': 50052}]", "True"])


def start_node(machine, fleet):
    node = machine.start(SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote", stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in node.stdout:
        lines.append(line)
        if "ready" in line:
            return
    raise RuntimeError("a simulated node did not start: " + "".join(lines))


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
