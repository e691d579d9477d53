"""What the tests of clusters share: a network namespace of their own, nodes that count, and looking for processes."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "network"))
import hosts  # noqa: E402

SOLLOL = os.environ.get("SOLLOL_BIN", str(HERE.parents[1] / "build/release/src/cli/sollol"))


def enter():
    """A namespace with loopback alone: what a cluster listens on, nobody else can reach."""
    hosts.enter()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in [name for name in os.environ if name.startswith(("OLLAMA_", "SOLLOL_AUTO", "SOLLOL_DISC"))]:
        del os.environ[name]


class Nodes:
    """Two nodes on one slot each, at 127.0.0.1; `counts` is what they have seen."""

    def __init__(self, folder):
        fleet = Path(folder, "fleet.toml")
        models = ('[{ name = "llama3.2", decode_rate = 5000, load_time = "5ms" }, '
                  '{ name = "slow", decode_rate = 5, load_time = "5ms" }]')
        fleet.write_text("".join(f'[[node]]\nname = "{name}"\nlisten = "127.0.0.1:{port}"\nmodels = {models}\n'
                                 for name, port in (("a", 11501), ("b", 11502))))
        self.urls = ["http://127.0.0.1:11501", "http://127.0.0.1:11502"]
        self.control = "http://127.0.0.1:11500"
        self.process = subprocess.Popen([SOLLOL, "sim", "--fleet", str(fleet), "--control", "127.0.0.1:11500"],
                                        stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "ready" in line:
                return
        raise RuntimeError("the simulated nodes did not start")

    def counts(self, what):
        with urllib.request.urlopen(self.control + "/nodes") as answer:
            nodes = json.load(answer)
        nodes = nodes["nodes"] if isinstance(nodes, dict) and "nodes" in nodes else nodes
        return [node[what] for node in (nodes.values() if isinstance(nodes, dict) else nodes)]

    def stop(self):
        self.process.kill()
        self.process.wait()


def processes(word):
    """The ids of the processes of this namespace whose command line has the word."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def eventually(condition, limit=60):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not come true in time")
        time.sleep(0.05)
