#!/usr/bin/env python3
"""How close `sollol batch` comes to the least time that a fleet allows, on simulated nodes over real sockets.

Three parts: nodes of mixed speeds against the sum of their speeds, equal nodes against one of them, and nodes that share
a machine, where the automatic width stands beside the better of one at a time and all at once. See README.md.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "llama3.2"


class Node:
    def __init__(self, name, rate, host, device="0", slots=1, **slowdowns):
        self.name, self.rate, self.host, self.device, self.slots, self.slowdowns = name, rate, host, device, slots, slowdowns

    def toml(self, ip):
        more = "".join(f"{key} = {value}\n" for key, value in self.slowdowns.items())
        return (f'[[node]]\nname = "{self.name}"\nlisten = "{ip}:0"\nhost = "{self.host}"\ndevice = "{self.device}"\n'
                f'slots = {self.slots}\n{more}models = [{{ name = "{MODEL}", decode_rate = {self.rate}, '
                f'load_time = "200ms", answer_tokens = 100000 }}]\n')


networks = itertools.count(41)  # 127.0.x: one for each fleet, as several may run side by side


class Fleet:
    """Simulated nodes in a process of their own, their model loaded."""

    def __init__(self, sollol, folder, nodes):
        self.nodes = nodes
        path = pathlib.Path(folder) / "fleet.toml"
        network = next(networks)
        path.write_text("".join(
            node.toml(f"127.{network // 250}.{network % 250}.{i + 1}") for i, node in enumerate(nodes)))
        self.process = subprocess.Popen([sollol, "sim", "--fleet", str(path)], stdout=subprocess.PIPE, text=True)
        self.urls = []
        for line in self.process.stdout:
            if " at http" in line:
                self.urls.append(line.split(" at ")[1].strip())
            if "ready" in line:
                break
        for url in self.urls:
            body = json.dumps({"model": MODEL, "stream": False}).encode()
            urllib.request.urlopen(url + "/api/generate", body).read()

    def flags(self, say_where):
        """`say_where`: the operator's word on machines; else the evidence is that all are on this one."""
        flags = []
        for node, url in zip(self.nodes, self.urls):
            where = f",host={node.host}" if say_where else ""
            flags += ["--node", f"{url},name={node.name}{where}"]
        return flags

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def batch(sollol, folder, flags, lengths):
    """Runs a batch; what it told of itself."""
    source, output = pathlib.Path(folder) / "in.jsonl", pathlib.Path(folder) / "out.jsonl"
    source.write_text("".join(
        json.dumps({"model": MODEL, "prompt": f"line {i}", "options": {"num_predict": length}}) + "\n"
        for i, length in enumerate(lengths)))
    for path in (output, pathlib.Path(str(output) + ".journal")):
        path.unlink(missing_ok=True)
    done = subprocess.run([sollol, "batch", str(source), str(output), "--json", *flags], capture_output=True, text=True,
                          env=os.environ | {"SOLLOL_AUTO_DISCOVER": "false"})
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    report = json.loads(done.stdout)
    assert report["done"] == len(lengths), report
    return report


def seconds(report):
    return report["seconds"]


def lengths_of(kind, count, chance):
    if kind == "equal":
        return [100] * count
    return [max(5, int(chance.lognormvariate(4.2, 0.8))) for _ in range(count)]


def mixed_speeds(sollol, folder, options, chance):
    rows = []
    for kind in ("equal", "long tail"):
        rates = [100, 200, 400, 800]
        nodes = [Node(f"x{rate // 100}", rate, f"m{rate}") for rate in rates]
        shares = []
        for _ in range(options.repeat):
            lengths = lengths_of(kind, options.lines, chance)
            with Fleet(sollol, folder, nodes) as fleet:
                report = batch(sollol, folder, fleet.flags(True), lengths)
            bound = sum(lengths) / sum(rates)
            shares.append(bound / seconds(report))
        rows.append((f"1:2:4:8, {kind} lengths", statistics.median(shares), min(shares)))
    return rows


def equal_nodes(sollol, folder, options, chance):
    rows = []
    lengths = lengths_of("long tail", options.lines, chance)
    alone = None
    for count in (1, 2, 3):
        times = []
        for _ in range(options.repeat):
            with Fleet(sollol, folder, [Node(f"e{i}", 800, f"m{i}") for i in range(count)]) as fleet:
                times.append(seconds(batch(sollol, folder, fleet.flags(True), lengths)))
        if count == 1:
            alone = statistics.median(times)
        else:
            rows.append((f"{count} equal nodes", alone / statistics.median(times), alone / max(times)))
    return rows


def shared_fleet(chance):
    count = chance.choice((2, 2, 3, 4))
    one_device = chance.random() < 0.5
    slots = chance.choice((1, 1, 1, 2))
    slowdowns = {"device_slowdown": round(chance.uniform(0.2, 2.5), 2), "host_slowdown": round(chance.uniform(0, 1.5), 2),
                 "parallel_slowdown": round(chance.uniform(0.1, 1.5), 2)}
    base = chance.choice((300, 600))
    nodes = [Node(f"s{i}", round(base * chance.choice((1, 1, 1, 0.5))), "box", "0" if one_device else str(i), slots, **slowdowns)
             for i in range(count)]
    what = f"{count} nodes, {'one device' if one_device else 'a device each'}, rates {'/'.join(str(n.rate) for n in nodes)}"
    slow = slowdowns["device_slowdown" if one_device else "host_slowdown"]
    return nodes, f"{what}, {slots} slot{'s' * (slots > 1)}, slowdown {slow}" + (
        f" and {slowdowns['parallel_slowdown']}" if slots > 1 else "")


def run_shared(sollol, nodes, what, lengths):
    """The times of one at a time, all at once and automatic, and what the automatic one says of its choice."""
    slots = sum(node.slots for node in nodes)
    times = []
    for width in ("1", str(slots), "auto"):
        with tempfile.TemporaryDirectory(prefix="sollol-batch-") as folder, Fleet(sollol, folder, nodes) as fleet:
            flags = fleet.flags(False)
            if nodes[0].slots > 1:
                flags = [f"{flag},slots={nodes[0].slots}" if flag != "--node" else flag for flag in flags]
            report = batch(sollol, folder, flags + ["--concurrency", width], lengths)
            times.append(seconds(report))
    alone, wide, automatic = times
    ratio = automatic / min(alone, wide)
    print(f"  {what}: alone {alone:.2f}, wide {wide:.2f}, auto {automatic:.2f} = {ratio:.3f} x the better "
          f"({report['width']})", file=sys.stderr, flush=True)
    return what, alone, wide, automatic, ratio


def shared_machine(sollol, options, chance):
    drawn = []
    for _ in range(options.fleets):
        nodes, what = shared_fleet(chance)
        lengths = [max(5, int(chance.lognormvariate(3.2, 0.5))) for _ in range(options.shared_lines)]
        drawn.append((sollol, nodes, what, lengths))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as threads:
        return list(threads.map(lambda one: run_shared(*one), drawn))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sollol", default=str(ROOT / "build/release/src/cli/sollol"))
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--fleets", type=int, default=20)
    parser.add_argument("--shared-lines", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=1, help="fleets of the part shared that run side by side")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", default="mixed,equal,shared")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.lines, options.repeat, options.fleets, options.shared_lines = 12, 1, 1, 12
    chance = random.Random(options.seed)
    bars = {"1:2:4:8": 0.95, "2 equal": 1.95, "3 equal": 2.9}
    with tempfile.TemporaryDirectory(prefix="sollol-batch-") as folder:
        parts = options.parts.split(",")
        rows = mixed_speeds(options.sollol, folder, options, chance) if "mixed" in parts else []
        rows += equal_nodes(options.sollol, folder, options, chance) if "equal" in parts else []
        if rows:
            print("| fleet | bar | median | worst | verdict |\n|---|--:|--:|--:|---|")
        for what, median, worst in rows:
            bar = next(value for key, value in bars.items() if what.startswith(key))
            print(f"| {what} | ≥ {bar} | {median:.3f} | {worst:.3f} | {'met' if median >= bar else 'missed'} |", flush=True)
        if "shared" in parts:
            print("\n| nodes of one machine | one at a time, s | all at once, s | automatic, s | × the better |\n|---|--:|--:|--:|--:|")
            rows = sorted(shared_machine(options.sollol, options, chance), key=lambda row: -row[4])
            for what, alone, wide, auto, ratio in rows:
                print(f"| {what} | {alone:.2f} | {wide:.2f} | {auto:.2f} | {ratio:.3f} |", flush=True)
            met = sum(row[4] <= 1.03 for row in rows)
            print(f"\nwithin 3 % of the better: {met} of {len(rows)}")


if __name__ == "__main__":
    main()
