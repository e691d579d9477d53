"""What the process tests share: simulated nodes, gateways as processes, clients that miss nothing."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SOLLOL = os.environ["SOLLOL_BIN"]
LIMIT_S = 60  # of anything that is awaited


def eventually(condition, what="the condition", limit=LIMIT_S):
    """Waits until the condition holds; its value."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {limit} s")


class Process:
    """A program whose standard output and error are read as they come."""

    def __init__(self, arguments, env=None, pass_fds=(), preexec=None):
        self.lines = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
            pass_fds=pass_fds, preexec_fn=preexec)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def text(self):
        with self._changed:
            return "\n".join(self.lines)

    @property
    def pid(self):
        return self.process.pid

    def wait_line(self, pattern, limit=LIMIT_S):
        """The first line, seen already or still to come, that matches."""
        end = time.monotonic() + limit
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    found = re.search(pattern, line)
                    if found:
                        return found
                seen = len(self.lines)
                left = end - time.monotonic()
                ended = not self._reader.is_alive()
                if left <= 0 or (ended and seen == len(self.lines)):
                    raise AssertionError(f"no line like {pattern!r} in:\n" + "\n".join(self.lines))
                self._changed.wait(min(left, 0.2))

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, limit=LIMIT_S):
        """Waits for the end; the exit code."""
        code = self.process.wait(limit)
        self._reader.join(LIMIT_S)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(LIMIT_S)
        self.process.stdout.close()


class LifecycleTest(unittest.TestCase):
    """A folder of its own, which is HOME too, and no process left behind."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sollol-lifecycle-"))
        self._processes = []

    def tearDown(self):
        for process in reversed(self._processes):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, **more):
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith(("SOLLOL_", "OLLAMA_", "XDG_"))}
        return kept | {"HOME": str(self.folder), "SOLLOL_AUTO_DISCOVER": "false"} | more

    def start(self, *arguments, env=None, **options):
        process = Process([SOLLOL, *arguments], env=env or self.environment(), **options)
        self._processes.append(process)
        return process

    def nodes(self, count=1, rate=200, slots=4, fields=""):
        """Simulated nodes; their URLs."""
        fleet = "".join(
            f'[[node]]\nname = "n{i}"\nlisten = "127.0.1.{i + 1}:0"\nslots = {slots}\n{fields}\n'
            f'models = [{{ name = "llama3.2", decode_rate = {rate}, load_time = "20ms", answer_tokens = 100000 }}]\n'
            for i in range(count))
        path = self.folder / f"fleet-{len(self._processes)}.toml"
        path.write_text(fleet)
        sim = self.start("sim", "--fleet", str(path))
        sim.wait_line("simulated nodes ready")
        self.sim = sim
        return re.findall(r"simulated node \S+ at (\S+)", sim.text)

    def gateway(self, *arguments, listen="127.0.0.1:0", ready=1, **options):
        """A gateway whose first `ready` nodes are healthy."""
        process = self.start("up", "--listen", listen, "--health-interval", "0.05", *arguments, **options)
        process.port = int(process.wait_line(r"listening on http://\S+:(\d+)").group(1))
        if ready:
            eventually(lambda: healthy(process.port) >= ready, "healthy nodes")
        return process


def request(port, method, path, body=None, headers=None, limit=LIMIT_S):
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        payload = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(method, path, payload, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def node_list(port):
    return json.loads(request(port, "GET", "/sollol/v1/nodes")[2])["nodes"]


def healthy(port):
    return sum(node["state"] == "healthy" and bool(node["models"]) for node in node_list(port))


class Stream(threading.Thread):
    """A streamed generation that is read in the background, record by record."""

    def __init__(self, port, tokens, model="llama3.2"):
        super().__init__(daemon=True)
        self.records = []
        self.error = None
        self.headers = None
        self.status = None
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        self._body = json.dumps({"model": model, "prompt": "tell me", "options": {"num_predict": tokens}})
        self.start()

    def run(self):
        try:
            self._connection.request("POST", "/api/generate", self._body)
            answer = self._connection.getresponse()
            self.status, self.headers = answer.status, dict(answer.getheaders())
            for line in answer:
                if line.strip():
                    self.records.append(json.loads(line))
        except Exception as error:  # a test asserts on it
            self.error = error
        finally:
            self._connection.close()

    def begun(self):
        eventually(lambda: self.records or self.error or self.status not in (None, 200), "the first token")
        return self

    def leave(self):
        """Closes the connection before the answer has ended."""
        if self._connection.sock:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(LIMIT_S)

    def done(self):
        self.join(LIMIT_S)
        return self.error is None and bool(self.records) and self.records[-1].get("done") is True
