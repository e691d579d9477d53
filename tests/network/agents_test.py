"""Agents on the nodes' machines, asked by a gateway: which nodes share a GPU, and who else uses it. The
machines are namespaces that this test makes, with process tables, machine ids and GPUs of their own."""

import json
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import hosts

SOLLOL = os.environ.get("SOLLOL_BIN", str(Path(__file__).resolve().parents[2] / "build/release/src/cli/sollol"))
NVML = os.environ.get("FAKE_NVML", str(Path(__file__).resolve().parents[2] / "build/release/tests/agent/libfake_nvml.so"))
TOKEN = "0123456789abcdef0123456789abcdef"
GIGABYTE = 10**9


class Box(hosts.Host):
    """A machine with two Ollama servers, GPUs and an agent."""

    def __init__(self, folder, number, gpu_of_port):
        self.folder = folder / f"box{number}"
        self.folder.mkdir()
        self.number = number
        self.name = f"box{number}"
        boot_id = self.folder / "boot_id"
        boot_id.write_text(f"0000000{number}-0000-4000-8000-000000000000\n")
        machine_id = self.folder / "machine-id"
        machine_id.write_text(f"{number}" * 32 + "\n")
        super().__init__(f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id && hostname {self.name}; "
                         f"test ! -e /etc/machine-id || mount --bind {machine_id} /etc/machine-id")
        self.gpus = sorted(set(gpu_of_port.values()))
        self.load(0)
        for port, gpu in gpu_of_port.items():
            self.serve(port, gpu)

    def serve(self, port, gpu):
        """A process that looks like `ollama serve` and answers like it."""
        fleet = self.folder / f"{port}.toml"
        fleet.write_text(f'[[node]]\nname = "n{port}"\nlisten = "0.0.0.0:{port}"\nmodels = ["llama3.2"]\n')
        (self.folder / "serve").write_text('"$SOLLOL" sim --fleet "$FLEET" --allow-remote & wait\n')
        self.start("bash", "-c", 'cd "$1"; exec -a ollama bash serve', "bash", str(self.folder),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "SOLLOL": SOLLOL, "FLEET": str(fleet), "OLLAMA_HOST": f"0.0.0.0:{port}",
                        "CUDA_VISIBLE_DEVICES": gpu})

    def load(self, percent):
        """Sets what another program takes of every GPU."""
        lines = []
        for gpu in self.gpus:
            lines.append(f"gpu {gpu} TestGPU {24 * GIGABYTE} {20 * GIGABYTE} {percent}")
            lines.append(f"process 1 {GIGABYTE} {percent}")
        written = self.folder / "gpus.new"
        written.write_text("\n".join(lines) + "\n")
        written.rename(self.folder / "gpus")

    def start_agent(self, token_file):
        self.start("sh", "-c", f'echo $$ > {self.folder}/agent; exec "$@"', "sh", SOLLOL, "agent", "--listen", ":11436", "--token-file", str(token_file), "--nvml", NVML,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "SOLLOL_FAKE_GPUS": str(self.folder / "gpus")})

    def stop_agent(self):
        self.run("sh", "-c", f"kill $(cat {self.folder}/agent)")


class Agents(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        self.token = self.path / "token"
        self.token.write_text(TOKEN + "\n")
        room = self.kept(hosts.Host())
        lan = hosts.Switch(room)
        self.machine = self.kept(hosts.Host())
        lan.plug(self.machine, "eth0", "10.78.1.1/28")
        # One GPU for each node, and one for both.
        self.apart = self.kept(Box(self.path, 1, {11434: "GPU-a0", 11435: "GPU-a1"}))
        self.together = self.kept(Box(self.path, 2, {11434: "GPU-b0", 11435: "GPU-b0"}))
        lan.plug(self.apart, "eth0", "10.78.1.2/28")
        lan.plug(self.together, "eth0", "10.78.1.3/28")

    def kept(self, host):
        self.addCleanup(host.stop)
        return host

    def gateway(self, *settings):
        log = open(self.path / "log", "w")
        self.addCleanup(log.close)
        process = self.machine.start(
            SOLLOL, "up", "--listen", "127.0.0.1:11500", "--no-node-file", "--state-file", "off", "--discovery-ports",
            "11434,11435", "--agents-interval", "0.2", "--log-access", "off", *settings, stdout=subprocess.DEVNULL,
            stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def asked(self, path):
        answer = self.machine.run("curl", "-s", "-m", "5", f"http://127.0.0.1:11500/sollol/v1/{path}", check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 else {}

    def nodes(self):
        return {node["name"]: node for node in self.asked("nodes").get("nodes", [])}

    def devices(self):
        """Each machine's nodes by the GPU that they are known to have."""
        return sorted(sorted((device["id"], *sorted(device["nodes"])) for device in host["devices"] if device["known"])
                      for host in self.asked("locality").get("hosts", []))

    def eventually(self, condition, what):
        limit = time.monotonic() + 20
        while not condition():
            log = self.path / "log"
            self.assertLess(time.monotonic(), limit,
                            f"{what}: {log.exists() and (self.asked('locality'), self.nodes(), log.read_text())}")
            time.sleep(0.02)

    def test_agents_tell_devices_and_foreign_load(self):
        for box in (self.apart, self.together):
            box.start_agent(self.token)
        self.gateway("--agents-token-file", str(self.token))
        self.eventually(lambda: self.devices() == [
            [("GPU-a0", "10.78.1.2"), ("GPU-a1", "10.78.1.2:11435")],
            [("GPU-b0", "10.78.1.3", "10.78.1.3:11435")]], "devices")
        found = self.asked("locality")
        self.assertEqual((found["unique_physical_hosts"], found["parallel"], found["width"]), (2, True, 3))
        print(found["text"], flush=True)
        slow = lambda: {round(node["foreign_slowdown"], 1) for node in self.nodes().values()
                        if node["url"].startswith("http://10.78.1.3")}
        self.assertLess(max(slow()), 1.5, "at most what else the processors do")
        self.together.load(75)
        self.eventually(lambda: slow() == {4.0}, "foreign load")
        table = self.machine.run(SOLLOL, "nodes", "--gateway", "http://127.0.0.1:11500").stdout
        print(table, flush=True)
        self.assertIn("agent on box2: TestGPU, 20.0 of 24.0 GB free; other programs make it 4.0 times as slow", table)
        self.together.stop_agent()
        self.eventually(lambda: slow() == {1.0}, "what is not told any more does not count")
        self.eventually(lambda: all(node["state"] == "healthy" for node in self.nodes().values()), "healthy nodes")

    def test_without_a_token_no_agent_elsewhere_is_asked(self):
        for box in (self.apart, self.together):
            box.start_agent(self.token)
        self.gateway()
        self.eventually(lambda: len(self.nodes()) == 4 and all(
            node["state"] == "healthy" for node in self.nodes().values()), "nodes")
        self.eventually(lambda: self.asked("locality").get("unique_physical_hosts") == 2, "machines")
        self.assertEqual(self.devices(), [[], []])
        self.assertFalse(any("agent" in node for node in self.nodes().values()))


if __name__ == "__main__":
    hosts.enter()
    unittest.main(verbosity=1)
