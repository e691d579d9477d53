#!/usr/bin/env python3
"""Measures how fast nodes are found: `sollol discover` beside nmap, in the same network namespaces.

Prints a Markdown table. README.md says what each column means and how it is measured.
"""

import argparse
import ipaddress
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/network"))
import hosts  # noqa: E402

PORT = 11434
TIMEOUT = 0.5  # of `sollol discover`, for a connection: its default
BAR = TIMEOUT + 0.1
RUN_LIMIT = 30  # seconds that one run may take; it is ended then

# (network, nodes in it): one of a /24's 254 addresses is the searching machine's own.
FULL = [("10.79.1.0/24", 1), ("10.79.1.0/24", 20), ("10.79.1.0/24", 254), ("10.79.0.0/20", 64)]
QUICK = [("10.79.1.0/28", 2)]

NMAP = {
    "nmap": [],
    "nmap -n": ["-n"],
    "nmap -n -Pn": ["-n", "-Pn"],
    "nmap -n -Pn -sT": ["-n", "-Pn", "-sT", "--disable-arp-ping"],
    "nmap -n -T5 --max-retries 0": ["-n", "-T5", "--max-retries", "0"],
}
QUICK_NMAP = ["nmap -n"]
ONCE = {"nmap"}  # waits for names for as long as it is let: one run says it all


class Network:
    """The searching machine and, across one link, a machine that has every node's address."""

    def __init__(self, arguments, folder, network, count):
        self.arguments, self.folder, self.count = arguments, Path(folder), count
        self.network = ipaddress.ip_network(network)
        addresses = [str(address) for address in self.network.hosts()]
        self.own, others = addresses[0], addresses[1:]
        on_own = count > len(others)
        step = len(others) // min(count, len(others))
        self.nodes = others[::step][: count - on_own] + ([self.own] if on_own else [])
        self.machines = [hosts.Host() for _ in range(3)]
        room, self.here, self.there = self.machines
        lan = hosts.Switch(room)
        bits = self.network.prefixlen
        lan.plug(self.here, "eth0", f"{self.own}/{bits}")
        lan.plug(self.there, "eth0")
        # At least one address of its own, so that it can answer who asks for it.
        batch = "".join(f"addr add {node}/{bits} dev eth0\n" for node in self.nodes if node != self.own)
        subprocess.run(self.there.command("ip", "-batch", "-"), input=batch, text=True, check=True)
        self.serve(self.there, [node for node in self.nodes if node != self.own])
        if on_own:
            self.serve(self.here, [self.own])

    def serve(self, machine, addresses):
        """Simulated nodes at these addresses, in one process."""
        fleet = self.folder / f"fleet{len(addresses)}.toml"
        fleet.write_text(
            "".join(
                f'[[node]]\nname = "{address}"\nlisten = "{address}:{PORT}"\nmodels = ["llama3.2"]\n'
                for address in addresses
            )
        )
        process = machine.start(
            self.arguments.sollol, "sim", "--fleet", str(fleet), "--allow-remote",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        said = ""
        for line in process.stdout:
            said += line
            if " ready" in line:
                return
        raise SystemExit(f"the simulated nodes did not start:\n{said}")

    def stop(self):
        for machine in self.machines:
            machine.stop()

    def packets(self):
        link = json.loads(self.here.run("ip", "-j", "-s", "link", "show", "eth0").stdout)[0]
        return link["stats64"]["tx"]["packets"]

    def forget_neighbours(self):
        """The kernel looks for a neighbour for three seconds, and has room for 1,024 in all namespaces."""
        limit = time.monotonic() + 10
        while self.here.run("ip", "neigh", "show", "nud", "incomplete").stdout and time.monotonic() < limit:
            time.sleep(0.05)
        self.here.run("ip", "neigh", "flush", "all")

    def sample(self, command, pattern):
        """One run from a cold neighbour table: when each node was told, and what it took."""
        self.forget_neighbours()
        before = self.packets()
        began = time.monotonic()
        process = subprocess.Popen(
            self.here.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        limit = threading.Timer(RUN_LIMIT, process.kill)
        limit.start()
        told = {}
        for line in process.stdout:
            match = re.match(pattern, line)
            if match and match.group(1) not in told:
                told[match.group(1)] = time.monotonic() - began
        process.wait()
        limit.cancel()
        took = time.monotonic() - began
        right = [told[node] for node in self.nodes if node in told]
        return {
            "found": len(right),
            "wrong": len(told) - len(right),
            "first_s": min(right, default=None),
            "last_s": max(right, default=None),
            "took_s": took,
            "packets": self.packets() - before,
        }

    def tools(self):
        """Names and how each is called, and how a line tells of a node."""
        sollol = [self.arguments.sollol, "discover", "--timeout", str(TIMEOUT)]
        yield "sollol discover", sollol, r"(\d+\.\d+\.\d+\.\d+):11434 "
        if not shutil.which("nmap"):
            return
        for name, options in NMAP.items():
            if name in (QUICK_NMAP if self.arguments.quick else NMAP):
                # -v tells of each port when it is found; --open leaves out the rest at the end.
                command = ["nmap", "-v", "--open", "-p", str(PORT), *options, str(self.network)]
                yield name, command, r"Discovered open port 11434/tcp on (\S+)"


def middle(samples, field):
    values = [sample[field] for sample in samples if sample[field] is not None]
    return statistics.median(values) if values else None


def seconds(value):
    if value is None:
        return "never"
    return f"> {RUN_LIMIT}" if value >= RUN_LIMIT else f"{value:.2f}"


def row(name, case, samples):
    summary = {field: middle(samples, field) for field in samples[0]}
    verdict = ""
    if name == "sollol discover" and case["bits"] >= 24:
        verdict = "met" if summary["last_s"] is not None and summary["last_s"] <= BAR else "missed"
    return {"tool": name, **case, **summary, "verdict": verdict, "samples": samples}


def table(rows):
    lines = [
        "| network | nodes | tool | found | first, s | all, s | end, s | packets sent | all within "
        f"{BAR:.1f} s |",
        "|---|--:|---|--:|--:|--:|--:|--:|---|",
    ]
    for one in rows:
        lines.append(
            f"| {one['network']} | {one['nodes']} | `{one['tool']}` | {one['found']:.0f} | "
            f"{seconds(one['first_s'])} | {seconds(one['last_s'])} | {seconds(one['took_s'])} | "
            f"{one['packets']:.0f} | {one['verdict']} |"
        )
    return "\n".join(lines)


def measure(arguments):
    rows, problems = [], []
    for network, count in arguments.case or (QUICK if arguments.quick else FULL):
        with tempfile.TemporaryDirectory() as folder:
            built = Network(arguments, folder, network, count)
            case = {"network": network, "nodes": count, "bits": built.network.prefixlen}
            samples = {}
            try:
                # Tools take turns, so that a change of the machine's mood hits all.
                for turn in range(1 if arguments.quick else arguments.rounds):
                    for name, command, pattern in built.tools():
                        if turn > 0 and name in ONCE:
                            continue
                        one = built.sample(command, pattern)
                        samples.setdefault(name, []).append(one)
                        print(f"{network} {count} {turn + 1} {name}: {one}", file=sys.stderr, flush=True)
            finally:
                built.stop()
        for name, taken in samples.items():
            rows.append(row(name, case, taken))
            if name == "sollol discover":
                problems += [
                    f"{network}, {count} nodes: {one['found']} found and {one['wrong']} wrong ones"
                    for one in taken
                    if one["found"] != count or one["wrong"]
                ]
    return rows, problems


def case(text):
    network, _, nodes = text.partition("=")
    return network, int(nodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sollol", default=str(REPOSITORY / "build/release/src/cli/sollol"))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool; medians are printed")
    parser.add_argument("--quick", action="store_true", help="one small network, once: shows that it works")
    parser.add_argument("--case", type=case, action="append", metavar="NETWORK=NODES",
                        help="a network to measure in place of the usual ones; repeat for more")
    parser.add_argument("--json", help="write all samples to this file")
    arguments = parser.parse_args()
    hosts.enter()  # exits with 77, and says why, where no namespaces can be made
    if not shutil.which("nmap"):
        print("skipped: nmap is not installed (apt-get install nmap); sollol alone", file=sys.stderr)
    rows, problems = measure(arguments)
    print(table(rows))
    print(f"\n{os.cpu_count()} cores, kernel {platform.release()}, {time.strftime('%Y-%m-%d')}; median of "
          f"{1 if arguments.quick else arguments.rounds}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"rows": rows, "problems": problems}, indent=1))
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
