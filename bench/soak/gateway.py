"""The gateway under test: its process, its counters, its memory and descriptors."""

import os
import re
import signal
import subprocess
from collections import defaultdict
from pathlib import Path

from http_client import Connection, ask_json, request_bytes

METRIC = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Gateway:
    def __init__(self, sollol, folder, address, nodes, settings):
        self.address = address
        self.config = Path(folder) / "sollol.toml"
        self.reloads = 0
        self._write_config()
        command = [sollol, "up", "--listen", "{}:{}".format(*address), "--no-node-file",
                   "--config", str(self.config)]
        for name, (ip, port) in nodes.items():
            command += ["--node", f"http://{ip}:{port},name={name}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SOLLOL_", "OLLAMA_"))}
        environment["SOLLOL_AUTO_DISCOVER"] = "false"
        self.log = open(Path(folder) / "gateway.log", "ab")
        self.process = subprocess.Popen(command + settings, stdout=self.log, stderr=self.log,
                                        env=environment)
        self.reads = 0  # of its counters: requests like any other

    def alive(self):
        return self.process.poll() is None

    def rss_kb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def metrics(self):
        """Family -> labels (a tuple of their values) -> value; those of before this request."""
        connection = await Connection.open(self.address, 10)
        connection.send(request_bytes("GET", "/metrics", keep=False))
        head = await connection.head()
        text = (await connection.body(head, "GET")).decode()
        connection.close()
        self.reads += 1
        families = defaultdict(dict)
        for line in text.splitlines():
            found = METRIC.match(line)
            if found:
                labels = tuple(value for _, value in LABEL.findall(found.group(2) or ""))
                families[found.group(1)][labels] = float(found.group(3))
        return families

    async def states(self):
        answer = await ask_json(self.address, "GET", "/sollol/v1/nodes")
        self.reads += 1
        return {node["name"]: node for node in answer["nodes"]}

    async def admin(self, node, action):
        """Drains or undrains a node."""
        await ask_json(self.address, "POST", f"/sollol/v1/nodes/{node}/{action}")
        self.reads += 1

    def _write_config(self):
        """Something that may change at run time, other than before."""
        self.config.write_text(f"[queue]\nmax_waiting = {1000 + self.reloads}\n")

    def reload(self):
        """SIGHUP with other settings."""
        self.reloads += 1
        self._write_config()
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.log.close()
        return self.process.returncode
