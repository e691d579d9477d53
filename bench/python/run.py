#!/usr/bin/env python3
"""Measures the Python package beside the `sollol` that PyPI has and Ollama's own client, over simulated nodes.

Prints a Markdown table. README.md says what each row means and how it is measured. Everything runs in network
namespaces of its own: the published package looks at whatever network it finds.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY / "tests/network"))
import hosts  # noqa: E402

VENVS = REPOSITORY / "build/bench-python"
# The published package asks httpx for HTTP/2, which it does not have without h2, and says nothing of that.
PEERS = {"published": ["sollol==0.9.66", "h2==4.4.1", "ollama==0.6.3"], "ollama": ["ollama==0.6.3"]}
NAMES = {"ollama": "Ollama's client", "published": "published", "sollol": "sollol"}

NODES = [f"127.0.1.{number}:11434" for number in (1, 2, 3, 4)]
LENGTH = 768  # of a vector
TIMEOUT = 0.5  # of discovery; the published package gives a connection a fifth of it, ours all of it
CONTROL = "127.0.0.1:8100"  # of the simulated nodes, in the namespace
SPEEDS = (1, 1, 2, 4)  # of the nodes of the last row: prompt tokens read per second, times SLOW
SLOW = 2500
FAST = 1e9  # prompt tokens per second of a node that costs nothing
NETWORK, FOUND = "10.79.1.0/24", 20  # where nodes are looked for, and how many are there
WORKER_LIMIT = 300  # seconds that one measurement of one client may take


def prepare():
    """Makes the environments of the other clients; ours is that of scripts/python.sh."""
    for name, wanted in PEERS.items():
        python = VENVS / name / "bin/python"
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        stamp = VENVS / name / "installed.txt"
        if stamp.exists() and stamp.read_text().split() == wanted:
            continue
        print(f"installing {' '.join(wanted)} into {VENVS / name} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENVS / name], check=True)
        subprocess.run([*pip, *wanted], check=True)
        stamp.write_text(" ".join(wanted))


def interpreters():
    """The clients that are here, and what runs each."""
    found = {"sollol": REPOSITORY / "build/python/venv/bin/python"}
    if not found["sollol"].exists():
        print("skipped: the package is not built (scripts/python.sh)")
        sys.exit(hosts.SKIPPED)
    found.update({name: VENVS / name / "bin/python" for name in PEERS if (VENVS / name / "installed.txt").exists()})
    return found


class Fleet:
    """Simulated nodes on a machine, in one process."""

    def __init__(self, sollol, machine, folder, addresses, speeds):
        lines = []
        for address, speed in zip(addresses, speeds):
            lines.append(
                f'[[node]]\nlisten = "{address}"\nslots = 8\nmodels = [\n'
                f'  {{ name = "llama3.2", prefill_rate = {FAST}, decode_rate = {FAST}, load_time = "1ms" }},\n'
                f'  {{ name = "nomic-embed-text", prefill_rate = {speed}, embedding_length = {LENGTH},'
                ' load_time = "1ms" },\n'
                "]\n"
            )
        path = Path(folder) / "fleet.toml"
        path.write_text("".join(lines))
        words = ["sim", "--fleet", str(path), "--allow-remote", "--control", CONTROL]
        self.machine = machine
        self.process = machine.start(sollol, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in self.process.stdout:
            said += line
            if " ready" in line:
                return
        raise SystemExit(f"the simulated nodes did not start:\n{said}")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.machine.processes.remove(self.process)

    def embedded(self):
        """Embedding requests that each node has had."""
        fetch = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
        text = self.machine.run(sys.executable, "-c", fetch, f"http://{CONTROL}/nodes").stdout
        return [node["requests"].get("POST /api/embed", 0) for node in json.loads(text)["nodes"]]


class Bench:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.pythons = interpreters()
        self.machines = [hosts.Host() for _ in range(3)]
        self.room, self.here, self.there = self.machines
        self.samples = {}
        self.problems = []

    def stop(self):
        for machine in self.machines:
            machine.stop()

    def fleet(self, speeds):
        return Fleet(self.arguments.sollol, self.here, self.folder, NODES, speeds)

    def ask(self, client, what, **settings):
        """One measurement of one client, in an interpreter of its own."""
        settings["nodes"] = [f"http://{node}" for node in NODES]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "SOLLOL_"))}
        command = self.here.command(str(self.pythons[client]), "-B", str(HERE / "clients.py"), client, what,
                                    json.dumps(settings))
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                               timeout=WORKER_LIMIT, cwd=self.folder)
        if ended.returncode != 0:
            self.problems.append(f"{client}, {what}: {ended.stderr.strip()[-300:]}")
            return None
        return json.loads(ended.stdout)

    def add(self, row, client, found):
        if found is not None:
            self.samples.setdefault(row, {}).setdefault(client, []).append(found)
            print(f"{row} {client}: {found}", file=sys.stderr, flush=True)

    def measure(self):
        size = self.arguments
        fleet = self.fleet([FAST] * len(NODES))
        for _ in range(size.rounds):
            for client in self.pythons:  # they take turns, so that a change of the machine's mood hits all
                self.add("start", client, self.ask(client, "start"))
                found = self.ask(client, "calls", calls=size.calls, streams=size.streams, tokens=size.tokens)
                for name, sample in (found or {}).items():
                    self.add(name, client, sample)
                self.embed("embed", client, fleet)
        fleet.stop()
        fleet = self.fleet([SLOW * speed for speed in SPEEDS])
        for _ in range(size.rounds):
            for client in self.pythons:
                self.embed("embed, mixed", client, fleet)
        fleet.stop()
        self.discover()

    def embed(self, row, client, fleet):
        before = fleet.embedded()
        found = self.ask(client, "embed", texts=self.arguments.texts, length=LENGTH)
        if found is not None:
            found["shares"] = [now - then for now, then in zip(fleet.embedded(), before)]
            self.add(row, client, found)

    def discover(self):
        """A machine that looks, and one across a link that has every node's address."""
        lan = hosts.Switch(self.room)
        lan.plug(self.here, "eth0", "10.79.1.1/24")
        # The published package finds its network by the way to 10.255.255.255.
        self.here.run("ip", "route", "add", "default", "dev", "eth0")
        addresses = [f"10.79.1.{10 + 10 * number}" for number in range(FOUND)]
        lan.plug(self.there, "eth0", *(f"{address}/24" for address in addresses))
        Fleet(self.arguments.sollol, self.there, self.folder, [f"{one}:11434" for one in addresses], [FAST] * FOUND)
        runs = [("discover", "sollol", TIMEOUT), ("discover", "published", TIMEOUT),
                ("discover, patience", "sollol", TIMEOUT / 5), ("discover, patience", "published", TIMEOUT)]
        for _ in range(self.arguments.rounds):
            for row, client, timeout in runs:
                if client not in self.pythons:
                    continue
                self.forget_neighbours()
                found = self.ask(client, "discover", timeout=timeout)
                if found is not None:
                    nodes = found.pop("nodes")
                    found["found"] = len(set(nodes) & set(addresses))
                    if client == "sollol" and sorted(nodes) != sorted(addresses):
                        self.problems.append(f"discovery: {nodes} in place of {addresses}")
                self.add(row, client, found)

    def forget_neighbours(self):
        limit = time.monotonic() + 10  # the kernel looks three seconds for each
        while self.here.run("ip", "neigh", "show", "nud", "incomplete").stdout and time.monotonic() < limit:
            time.sleep(0.05)
        self.here.run("ip", "neigh", "flush", "all")


def median(samples, take):
    return statistics.median(take(sample) for sample in samples)


class Neighbours:
    """How many CPUs other programs took meanwhile; above some tenths, measure again."""

    def __init__(self):
        self.began, self.before = time.monotonic(), self.others()

    @staticmethod
    def others():
        """CPU seconds of the machine, without those of this process and all that it has waited for."""
        with open("/proc/stat") as stat:
            user, nice, system, _, _, irq, softirq = (int(word) for word in stat.readline().split()[1:8])
        ours = os.times()
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - sum(ours[:4])

    def text(self):
        cpus = (self.others() - self.before) / (time.monotonic() - self.began)
        return f"other programs took {max(0, cpus):.1f} CPUs meanwhile"


class Table:
    def __init__(self, samples):
        self.samples, self.lines = samples, []

    def add(self, what, row, take, digits=0, beside=None):
        """`beside`: a row whose median over all clients is taken off: the same question of the same nodes."""
        cells, values = [], {}
        least = median([one for each in self.samples[beside].values() for one in each], take) if beside else 0
        for client in NAMES:
            taken = self.samples.get(row, {}).get(client)
            if not taken:
                cells.append("–")
                continue
            values[client] = median(taken, take) - least
            cells.append(f"{values[client]:,.{digits}f}")
        for peer in ("ollama", "published"):
            both = peer in values and "sollol" in values and values["sollol"] > 0
            cells.append(f"{values[peer] / values['sollol']:.1f}" if both else "–")
        self.lines.append(f"| {' | '.join([what, *cells])} |")

    def say(self, what, row, take):
        """A row that has no ratio."""
        cells = [take(self.samples[row][client][-1]) if self.samples.get(row, {}).get(client) else "–"
                 for client in NAMES]
        self.lines.append(f"| {' | '.join([what, *cells, '', ''])} |")

    def text(self):
        head = f"| what | {' | '.join(NAMES.values())} | Ollama's client ÷ sollol | published ÷ sollol |"
        return "\n".join([head, "|---|--:|--:|--:|--:|--:|", *self.lines])


def table(samples, arguments):
    def wall(sample):
        return sample["wall_us"]

    def cpu(sample):
        return sample["cpu_us"]

    def seconds(sample):
        return sample["seconds"]

    def shares(sample):
        return " ".join(f"{100 * share / sum(sample['shares']):.0f}" for share in sample["shares"])

    rows = Table(samples)
    streamed = f"streamed chat of {arguments.tokens} tokens"
    for what, row in (("chat", "chat"), ("awaited chat", "chat_async"), (streamed, "stream"),
                      (f"awaited {streamed}", "stream_async")):
        rows.add(f"{what}: µs beyond the node's answer", row, wall, beside=f"{row.partition('_')[0]} bare")
        rows.add("… CPU, µs", row, cpu)
    rows.add(f"{arguments.texts:,} embeddings, 4 equal nodes: s", "embed", seconds, 2)
    rows.add("… CPU for each, µs", "embed", cpu)
    rows.say("… share of each node, %", "embed", shares)
    rows.add(f"… nodes of speeds {', '.join(map(str, SPEEDS))}: s", "embed, mixed", seconds, 2)
    rows.say("… share of each node, %", "embed, mixed", shares)
    rows.add(f"discovery, a /24 with {FOUND} nodes: s", "discover", seconds, 2)
    rows.say("… nodes found", "discover", lambda sample: str(sample["found"]))
    rows.add("… with equal patience for a connection, 0.1 s: s", "discover, patience", seconds, 2)
    rows.add("import: s", "start", lambda sample: sample["import_s"], 2)
    rows.add("… resident memory, MiB", "start", lambda sample: sample["rss_mib"])
    rows.add("… modules", "start", lambda sample: sample["modules"])
    rows.add("start of the import to the first answer: s", "start", lambda sample: sample["answer_s"], 2)
    return rows.text()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sollol", default=str(REPOSITORY / "build/release/src/cli/sollol"))
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are printed (3)")
    parser.add_argument("--calls", type=int, default=1000, help="in each round (1000)")
    parser.add_argument("--streams", type=int, default=200, help="in each round (200)")
    parser.add_argument("--tokens", type=int, default=50, help="of a streamed answer (50)")
    parser.add_argument("--texts", type=int, default=10000, help="to embed (10000)")
    parser.add_argument("--quick", action="store_true",
                        help="few of each, with the clients that are installed: shows that it works")
    parser.add_argument("--json", help="write all samples to this file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.calls, arguments.streams, arguments.tokens, arguments.texts = 1, 20, 5, 5, 100
    elif not os.environ.get("SOLLOL_IN_NAMESPACE"):
        prepare()
    hosts.enter()  # exits with 77, and says why, where no namespaces can be made
    neighbours = Neighbours()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, folder)
        try:
            bench.measure()
        finally:
            bench.stop()
    print(table(bench.samples, arguments))
    peers = ", ".join(" + ".join(PEERS[name]) for name in PEERS if name in bench.pythons)
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, kernel {platform.release()}, "
          f"{time.strftime('%Y-%m-%d')}; medians of {arguments.rounds}; {neighbours.text()}; "
          f"{peers or 'no other client is installed'}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"samples": bench.samples, "problems": bench.problems}, indent=1))
    for problem in bench.problems:
        print(f"problem: {problem}")
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
