"""Simulated nodes, and gateways in front of them, on loopback addresses of their own."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOLLOL = os.environ.get("SOLLOL_BIN", str(ROOT / "build/release/src/cli/sollol"))

FAST = '{ name = "llama3.2", decode_rate = 5000, load_time = "5ms", capabilities = ["completion", "tools"] }'
SLOW = '{ name = "slow", decode_rate = 5, load_time = "5ms" }'
EMBED = '{ name = "nomic-embed-text", capabilities = ["embedding"], embedding_length = 64, load_time = "5ms" }'


class Process:
    """One of our programs, up once it has said so."""

    def __init__(self, words, ready):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
        self.process = subprocess.Popen([SOLLOL, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=environment)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if ready in line:
                return
        raise RuntimeError("".join(self.lines))

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class Fleet(Process):
    def __init__(self, folder, models, count):
        lines = [f'[[node]]\nname = "{name}"\nlisten = "127.0.0.1:0"\nmodels = [{", ".join(models)}]\n'
                 for name in "abcd"[:count]]
        path = folder / "fleet.toml"
        path.write_text("\n".join(lines))
        super().__init__(["sim", "--fleet", str(path)], "ready")
        self.urls = [line.split()[-1] for line in self.lines if " at http" in line]
        self.nodes = [dict(zip(("host", "port"), url[len("http://"):].rsplit(":", 1))) for url in self.urls]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    made = Fleet(tmp_path_factory.mktemp("fleet"), [FAST, SLOW, EMBED], 3)
    yield made
    made.stop()


class Gateway(Process):
    def __init__(self, fleet, *words):
        nodes = itertools.chain.from_iterable(("--node", url) for url in fleet.urls)
        super().__init__(["up", "--no-node-file", "--state-file", "off", "--listen", "127.0.0.1:0", *words, *nodes],
                         "listening on")
        self.url = next(word for line in self.lines for word in line.split() if word.startswith("http://127"))


@pytest.fixture(scope="session")
def gateway(fleet):
    made = Gateway(fleet)
    yield made.url
    made.stop()


@pytest.fixture
def gateway_with_key(fleet, tmp_path):
    """The URL of a gateway, and a key of it that is no admin's."""
    keys = str(tmp_path / "keys.toml")
    made = subprocess.run([SOLLOL, "keys", "add", "alice", "--keys-file", keys], capture_output=True, text=True, check=True)
    gateway = Gateway(fleet, "--keys-file", keys)
    yield gateway.url, made.stdout.strip()
    gateway.stop()


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch):
    """No test may look at the machine's own networks, or speak to what runs there."""
    for name in [name for name in os.environ if name.startswith(("OLLAMA_", "SOLLOL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SOLLOL_AUTO_DISCOVER", "false")
    monkeypatch.setenv("SOLLOL_GATEWAY", "http://127.0.0.1:1")


@pytest.fixture
def pool(fleet):
    from sollol import OllamaPool

    with OllamaPool(nodes=fleet.nodes) as made:
        yield made


@pytest.fixture
def python():
    """Runs a program in an interpreter of its own: its process, with pipes."""
    started = []

    def run(text, *words):
        process = subprocess.Popen([sys.executable, "-u", "-c", text, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
