"""The simulated nodes, and what is done to them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

from http_client import ask_json
from routes import AUDIO, CHAT, EMBED

CONTROL_S = 10  # for an order to be carried out

# What a node may be told to do wrong; the time-outs of run.py end those that are silent.
FAULTS = [
    "reset", "reset_after_head", "stall", "die_after_tokens:0", "die_after_tokens:5",
    "end_after_tokens:0", "end_after_tokens:4", "error", "error_after_tokens:3", "busy",
    "slow_ps:3", "content_type", "garbage", "empty", "slow:5", "half_close:0", "half_close:4",
    "stall_after_tokens:4", "cut_in_chunk:2", "bad_chunk:3", "half_record:2", "long_length", "short_length", "foreign",
]


def free_port(ip):
    with socket.socket() as listener:
        listener.bind((ip, 0))
        return listener.getsockname()[1]


class SimProcess:
    """One `sollol sim` with some nodes, at addresses that stay its own."""

    def __init__(self, sollol, folder, name, ips, decode_rate):
        self.sollol, self.name = sollol, name
        self.nodes = {f"{name}{i + 1}": (ip, free_port(ip)) for i, ip in enumerate(ips)}
        self.control = ("127.0.0.1", free_port("127.0.0.1"))
        self.file = Path(folder) / f"{name}.toml"
        self.file.write_text(self._toml(decode_rate))
        self.log = open(Path(folder) / f"{name}.log", "ab")
        self.process = None
        self.seen_before = Counter()  # at least; of processes that were killed

    def _toml(self, decode_rate):
        text = f"""
[[model]]
name = "{CHAT}"
decode_rate = {decode_rate}
answer_tokens = 40
load_time = "200ms"
[[model]]
name = "{EMBED}"
capabilities = ["embedding"]
embedding_length = 32
load_time = "100ms"
[[model]]
name = "{AUDIO}"
capabilities = ["completion", "audio"]
decode_rate = {decode_rate}
load_time = "200ms"
"""
        for name, (ip, port) in self.nodes.items():
            text += f"""
[[node]]
name = "{name}"
listen = "{ip}:{port}"
slots = 4
pull_rate = "20 GB"
models = ["{CHAT}", "{EMBED}", "{AUDIO}"]
"""
        return text

    def start(self):
        command = [self.sollol, "sim", "--fleet", str(self.file), "--control",
                   "{}:{}".format(*self.control)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        for line in self.process.stdout:
            if b"ready" in line:
                return
        raise RuntimeError(f"the simulated nodes {self.name} did not start: see {self.log.name}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait()
        self.log.close()

    async def counters(self):
        """What each node has seen since its process started."""
        answer = await ask_json(self.control, "GET", "/nodes", silence_s=CONTROL_S)
        return {node["name"]: node for node in answer["nodes"]}

    async def order(self, method, node, action, body=None):
        await ask_json(self.control, method, f"/nodes/{node}/{action}", body, CONTROL_S)


class Chaos:
    """Breaks nodes and mends them, drawn from a seed, at most `broken_max` at a time."""

    def __init__(self, steady, mortal, random, broken_max=2):
        self.steady, self.mortal, self.random = steady, mortal, random
        self.broken_max = broken_max
        self.admin = None  # tells the gateway to drain or undrain a node
        self.done = Counter()
        self.broken = set()
        self.mortal_away = False
        self.tasks = set()
        self.errors = []

    async def run(self, until, pause_s):
        while time.monotonic() < until:
            await asyncio.sleep(pause_s * (0.5 + self.random.random()))
            if len(self.broken) >= self.broken_max:
                continue
            work = self._draw(max(0.5, min(4.0, until - time.monotonic())))
            if work is not None:
                task = asyncio.create_task(self._guarded(work))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        await asyncio.gather(*self.tasks)

    async def _guarded(self, work):
        try:
            await work
        except Exception as error:  # noqa: BLE001: whatever it is, the run must say so
            self.errors.append(f"driving the nodes: {error!r}")

    def _draw(self, longest_s):
        length = 0.3 + self.random.random() * (longest_s - 0.3)
        pick = self.random.random()
        if pick > 0.97 and not self.mortal_away and not self.broken:
            return self._all_off()
        if pick < 0.12 and not self.mortal_away and not self.broken & set(self.mortal.nodes):
            return self._whole_process(self._killed if pick < 0.06 else self._frozen, length)
        process = self.random.choice((self.steady, self.mortal))
        if process is self.mortal and self.mortal_away:
            return None
        node = self.random.choice(sorted(process.nodes))
        if node in self.broken:
            return None
        self.broken.add(node)
        if pick < 0.16:
            return self._drained(node, length)
        if pick < 0.35:
            return self._switched_off(process, node, length)
        return self._faulty(process, node, length)

    async def _whole_process(self, work, length):
        self.mortal_away = True
        self.broken |= set(self.mortal.nodes)
        try:
            await work(length)
        finally:
            self.broken -= set(self.mortal.nodes)
            self.mortal_away = False

    async def _all_off(self):
        """Nobody is there: every request gets an error."""
        self.done["all nodes off"] += 1
        nodes = [(process, node) for process in (self.steady, self.mortal)
                 for node in process.nodes]
        self.broken |= {node for _, node in nodes}
        try:
            await asyncio.gather(*(p.order("POST", node, "kill") for p, node in nodes))
            await asyncio.sleep(0.5 + self.random.random())
            await asyncio.gather(*(p.order("POST", node, "restart") for p, node in nodes))
        finally:
            self.broken -= {node for _, node in nodes}

    async def _killed(self, length):
        self.done["process killed"] += 1
        for name, node in (await self.mortal.counters()).items():
            self.mortal.seen_before[name] += relayed_requests(node)
        self.mortal.kill()
        await asyncio.sleep(length)
        await asyncio.to_thread(self.mortal.start)

    async def _frozen(self, length):
        self.done["process frozen"] += 1
        os.kill(self.mortal.process.pid, signal.SIGSTOP)
        await asyncio.sleep(length)
        os.kill(self.mortal.process.pid, signal.SIGCONT)

    async def _switched_off(self, process, node, length):
        self.done["node switched off"] += 1
        try:
            await process.order("POST", node, "kill")
            await asyncio.sleep(length)
            await process.order("POST", node, "restart")
        finally:
            self.broken.discard(node)

    async def _drained(self, node, length):
        """By its operator: it finishes what it has."""
        self.done["node drained"] += 1
        try:
            await self.admin(node, "drain")
            await asyncio.sleep(length)
            await self.admin(node, "undrain")
        finally:
            self.broken.discard(node)

    async def _faulty(self, process, node, length):
        fault = self.random.choice(FAULTS)
        self.done["node " + fault.partition(":")[0]] += 1
        spec = {"fault": fault, "probability": self.random.choice((0.3, 1)),
                "scope": self.random.choice(("inference", "inference", "all"))}
        try:
            await process.order("PUT", node, "faults", [spec])
            await asyncio.sleep(length)
            await process.order("PUT", node, "faults", [])
        finally:
            self.broken.discard(node)


INFERENCE = (
    "generate", "chat", "embed", "embeddings"), (
    "chat/completions", "completions", "embeddings", "responses", "audio/transcriptions",
    "messages")
RELAYED_ROUTES = {f"POST /api/{name}" for name in INFERENCE[0]} | {
    f"POST /v1/{name}" for name in INFERENCE[1]} | {"POST /api/show", "GET /v1/models/:"}


def relayed_requests(node):
    """Requests that a gateway sends to one chosen node; its probes and fan-outs are others."""
    return sum(n for route, n in node["requests"].items() if route in RELAYED_ROUTES)


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=1))
