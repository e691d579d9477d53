"""`sollol agent` and `sollol multi-gpu` as processes: the service, what it tells of real processes, the units."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest

from common import SOLLOL, LifecycleTest, Process, eventually, request
from systemd_test import Manager

TOKEN = "0123456789abcdef0123456789abcdef"
REPORT = "/sollol/agent/v1/report"

# Run with the words of Ollama's command line, it is Ollama as far as an agent can see.
SERVER = """
import os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
runner = subprocess.Popen([os.environ["PYTHON"], "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print("listening", listener.getsockname()[1], "runner", runner.pid, flush=True)
try:
    sys.stdin.read()
finally:
    runner.stdin.close()
    runner.wait()
"""


class AgentTest(LifecycleTest):
    def agent(self, *arguments, **more):
        process = self.start("agent", "--listen", "127.0.0.1:0", *arguments, env=self.environment(**more))
        process.port = int(process.wait_line(r"http://127\.0\.0\.1:(\d+)/").group(1))
        return process

    def ask(self, agent, token=TOKEN):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return request(agent.port, "GET", REPORT, headers=headers)

    def run_once(self, *arguments, **more):
        return subprocess.run([SOLLOL, *arguments], env=self.environment(**more), capture_output=True, text=True,
                              timeout=60, check=False)


class Service(AgentTest):
    def test_who_shows_the_token_gets_the_report_until_sigterm(self):
        token_file = self.folder / "token"
        token_file.write_text(TOKEN + "\n")
        manager = Manager(str(self.folder / "notify"))
        self.addCleanup(manager.socket.close)
        agent = self.agent("--token-file", str(token_file), NOTIFY_SOCKET=str(self.folder / "notify"))
        manager.wait("READY=1")
        status, headers, body = self.ask(agent)
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "application/json")
        report = json.loads(body)
        self.assertEqual(report["version"], 1)
        self.assertEqual(report["machine"]["hostname"], socket.gethostname())
        self.assertEqual(len(report["machine"]["boot_id"]), 32)
        for wrong in (None, "x" * 32, TOKEN[:-1], TOKEN + "0"):
            self.assertEqual(self.ask(agent, wrong)[0], 401, wrong)
        # Nobody's half a request keeps it from ending.
        half = socket.create_connection(("127.0.0.1", agent.port))
        half.sendall(b"GET / HT")
        agent.signal(signal.SIGTERM)
        manager.wait("STOPPING=1")
        self.assertEqual(agent.end(), 0)
        half.close()

    def test_the_variable_gives_the_token_too(self):
        agent = self.agent(SOLLOL_AGENT_TOKEN=TOKEN)
        self.assertEqual(self.ask(agent)[0], 200)
        self.assertEqual(self.ask(agent, None)[0], 401)

    def test_does_not_start_beyond_this_machine_without_a_token(self):
        for listen in (":0", "0.0.0.0:0", "[::]:0"):
            ended = self.run_once("agent", "--listen", listen)
            self.assertEqual(ended.returncode, 2, ended.stderr)
            self.assertIn("needs a token", ended.stderr)
        ended = self.run_once("agent", SOLLOL_AGENT_TOKEN="short")
        self.assertEqual(ended.returncode, 2, ended.stderr)
        self.assertIn("16 to 512", ended.stderr)

    def test_a_taken_port_is_said(self):
        agent = self.agent()
        ended = self.run_once("agent", "--listen", f"127.0.0.1:{agent.port}")
        self.assertEqual(ended.returncode, 1, ended.stderr)

    def test_prints_the_report_once(self):
        ended = self.run_once("agent", "--once", "--json")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertGreater(json.loads(ended.stdout)["machine"]["memory_total"], 0)
        ended = self.run_once("agent", "--once")
        self.assertTrue(ended.stdout.startswith("machine "), ended.stdout)

    def test_no_descriptor_is_left_over(self):
        agent = self.agent()
        count = lambda: len(os.listdir(f"/proc/{agent.pid}/fd"))
        self.assertEqual(self.ask(agent, None)[0], 200)
        before = eventually(count)
        for _ in range(100):
            self.assertEqual(self.ask(agent, None)[0], 200)
        eventually(lambda: count() <= before, "descriptors closed")


class Devices(AgentTest):
    def ollama(self, **environment):
        """A process that looks like `ollama serve`; its port and its runner's pid."""
        (self.folder / "serve").write_text(SERVER)
        process = subprocess.Popen(["ollama", "serve"], executable=sys.executable, cwd=self.folder, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   env=self.environment(PYTHON=sys.executable, **environment))

        def end():
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
        self.addCleanup(end)
        words = process.stdout.readline().split()
        return process.pid, int(words[1]), int(words[3])

    def test_tells_each_ollamas_port_and_gpu_and_what_others_take(self):
        first, first_port, runner = self.ollama(CUDA_VISIBLE_DEVICES="GPU-aa")
        second, second_port, _ = self.ollama(CUDA_VISIBLE_DEVICES="1")
        gpus = self.folder / "gpus"
        gpus.write_text(f"gpu GPU-aa H100 1000 300 90\nprocess {runner} 500 50\nprocess {os.getpid()} 200 40\n"
                        "gpu GPU-bb H100 1000 1000 0\n")
        agent = self.agent("--nvml", os.environ["FAKE_NVML"], SOLLOL_AGENT_TOKEN=TOKEN, SOLLOL_FAKE_GPUS=str(gpus))
        report = json.loads(self.ask(agent)[2])
        nodes = {node["pid"]: node for node in report["nodes"]}
        self.assertEqual(nodes[first]["port"], first_port)
        self.assertEqual(nodes[first]["address"], "127.0.0.1")
        self.assertEqual(nodes[first]["gpus"], ["GPU-aa"])
        self.assertEqual(nodes[first]["gpus_in_use"], ["GPU-aa"])
        self.assertEqual(nodes[second]["port"], second_port)
        self.assertEqual(nodes[second]["gpus"], ["GPU-bb"])
        self.assertEqual(nodes[second]["gpus_in_use"], [])
        self.assertEqual([gpu["uuid"] for gpu in report["gpus"]], ["GPU-aa", "GPU-bb"])
        self.assertEqual(report["gpus"][0]["foreign_memory"], 200)
        self.assertEqual(report["gpus"][0]["foreign_utilisation"], 40)
        self.assertEqual(report["gpus"][1]["foreign_utilisation"], 0)


class MultiGpu(AgentTest):
    GPUS = "GPU-1f2e3d4c-0000,GPU-2f2e3d4c-0000"

    def run_multi(self, *arguments, **more):
        return self.run_once("multi-gpu", "--host", "box", "--address", "127.0.0.1", *arguments, **more)

    def test_prints_installs_and_registers(self):
        units, file = self.folder / "units", self.folder / "nodes.json"
        file.write_text('{"mine": 1, "nodes": [{"url": "http://127.0.0.1:21435", "priority": 3, "x": 2}]}\n')
        printed = self.run_multi("--gpus", self.GPUS)
        self.assertEqual(printed.returncode, 0, printed.stderr)
        self.assertIn("Environment=CUDA_VISIBLE_DEVICES=GPU-2f2e3d4c-0000", printed.stdout)
        self.assertFalse(units.exists())
        done = self.run_multi("--gpus", self.GPUS, "--base-port", "21434", "--install", "--unit-dir", str(units),
                              "--register", "--node-file", str(file), "--ollama", "/bin/true", "--user", "root")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(os.listdir(units)), ["ollama-gpu0.service", "ollama-gpu1.service"])
        saved = json.loads(file.read_text())
        self.assertEqual(saved["mine"], 1)
        self.assertEqual(saved["nodes"], [
            {"url": "http://127.0.0.1:21435", "priority": 3, "x": 2, "name": "box-gpu1", "host": "box",
             "device": "GPU-2f2e3d4c-0000"},
            {"url": "http://127.0.0.1:21434", "name": "box-gpu0", "priority": 0, "host": "box",
             "device": "GPU-1f2e3d4c-0000"}])
        # Once more changes nothing.
        again = self.run_multi("--gpus", self.GPUS, "--base-port", "21434", "--register", "--node-file", str(file))
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(json.loads(file.read_text()), saved)
        if shutil.which("systemd-analyze"):
            checked = subprocess.run(["systemd-analyze", "verify", *map(str, units.iterdir())], capture_output=True,
                                     text=True, timeout=60, check=False)
            self.assertEqual((checked.returncode, checked.stderr), (0, ""))

    def test_takes_the_drivers_gpus(self):
        gpus = self.folder / "gpus"
        gpus.write_text("gpu GPU-aa H100 1000 300 0\ngpu GPU-bb H100 1000 300 0\n")
        plan = self.run_multi("--json", "--nvml", os.environ["FAKE_NVML"], SOLLOL_FAKE_GPUS=str(gpus))
        self.assertEqual(plan.returncode, 0, plan.stderr)
        self.assertEqual([(unit["port"], unit["device"]) for unit in json.loads(plan.stdout)],
                         [(11434, "GPU-aa"), (11435, "GPU-bb")])

    def test_says_what_is_wrong(self):
        for arguments, code in ((["--nvml", "/none.so", "--rocm-smi", "/none.so"], 1), (["--gpus", "0"], 2),
                                (["--gpus", self.GPUS, "--models", "/a b"], 2)):
            ended = self.run_multi(*arguments)
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertEqual(ended.stdout, "")


if __name__ == "__main__":
    unittest.main()
