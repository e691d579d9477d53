#!/usr/bin/env python3
"""Measures what relaying costs: sollol beside nginx and HAProxy, same origin, one worker each.

Prints a Markdown table with the design's bars. README.md says what each row means and how it is
measured.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablate import ablate
from chart import delay_svg
from proxies import PEERS, RELAYS, Direct, NoSuchRelay, Relay, ask_once, file_limit, prepare
from table import APART, brief, quietness, table

REPOSITORY = Path(__file__).resolve().parents[2]
SPARE_FILES = 200  # of a relay's limit: what it needs besides two per stream
QUIET_CPUS = 0.1  # a sample during which others used more is taken again
TAKES_MAX = 4
REQUESTS_SHARE_MIN = 0.98  # of the requests due
TOKENS_SHARE_MIN = 0.97  # of the tokens due; with fewer, CPU per token and delays say little

FULL = {
    "requests": {"rounds": 7, "connections": 32, "seconds": 2, "warmup": 0.5},
    "latency": {"rounds": 3, "connections": 64, "rate": 20000, "seconds": 3, "warmup": 0.5},
    "scaling": {"rounds": 5, "connections": 32, "rate": 10000, "seconds": 3, "warmup": 0.5},
    "tokens": {
        "rounds": 5,
        "streams": 1000,
        "rate": 50,
        "seconds": 5,
        "warmup": 1,
        "open_rate": 4000,
    },
    "open": {
        "rounds": 1,
        "streams": 10000,
        "rate": 0.5,
        "seconds": 10,
        "warmup": 2,
        "open_rate": 4000,
    },
    "start": {"rounds": 10},
}
QUICK = {
    "requests": {"rounds": 1, "connections": 4, "seconds": 0.2, "warmup": 0.1},
    "latency": {"rounds": 1, "connections": 4, "rate": 500, "seconds": 0.2, "warmup": 0.1},
    "scaling": {"rounds": 1, "connections": 4, "rate": 250, "seconds": 0.2, "warmup": 0.1},
    "tokens": {
        "rounds": 1,
        "streams": 10,
        "rate": 50,
        "seconds": 0.3,
        "warmup": 0.1,
        "open_rate": 1000,
        "slack": 0.3,
    },
    "open": {
        "rounds": 1,
        "streams": 50,
        "rate": 5,
        "seconds": 0.3,
        "warmup": 0.1,
        "open_rate": 1000,
        "slack": 0.3,
    },
    "start": {"rounds": 1},
}


class Neighbours:
    """How much CPU others had while a block ran: they share caches and CPUs with the measured."""

    def __init__(self, ours):
        self.ours = ours

    def __enter__(self):
        self.before = self._others()
        return self

    def __exit__(self, *_):
        self.cpus = max(
            0.0, (self._others() - self.before) / max(time.monotonic() - self.since, 1e-9)
        )

    def _others(self):
        """CPU seconds of all but our processes, those this program waited for, and itself."""
        self.since = getattr(self, "since", time.monotonic())
        fields = [
            int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ]
        idle = fields[3] + fields[4]
        mine = sum(os.times()[:4]) + sum(seconds_of(process) for process in self.ours)
        return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK") - mine


def seconds_of(process):
    """CPU seconds of a living process and its children."""
    folder = Path(f"/proc/{process}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    children = (folder / f"task/{process}/children").read_text().split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") + sum(
        seconds_of(child) for child in children
    )


class Bench:
    """One run: the origin, the relays that can run here, and the samples of each row and relay."""

    def __init__(self, arguments, folder, stack):
        self.arguments, self.folder = arguments, Path(folder)
        self.relay_cpu, self.other_cpu = pick_cpus()
        self.nodes = stack.enter_context(self.origin(arguments.nodes))
        self.relays = [name for name in RELAYS if name in arguments.relays and self.usable(name)]
        self.samples, self.problems = {}, []

    def usable(self, name):
        try:
            self.relay(name)
            return True
        except NoSuchRelay as reason:
            if self.arguments.quick and name == "sollol":
                raise SystemExit(f"{reason}, and it is what this run is for")
            print(f"skipped: {reason}", file=sys.stderr)
            return False

    def relay(self, name, workers=1, pinned=True, options=(), fields=()):
        if name == "direct":
            return Direct(self.nodes)
        return Relay(
            name,
            self.nodes,
            self.folder,
            self.relay_cpu if pinned else None,
            self.arguments.sollol,
            [*self.arguments.sollol_option, *options],
            workers,
            fields,
        )

    @contextlib.contextmanager
    def origin(self, count):
        listen = [word for i in range(1, count + 1) for word in ("--listen", f"127.0.2.{i}:0")]
        process = subprocess.Popen(
            [self.arguments.tools / "relay_origin", *listen],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: prepare(self.other_cpu),
        )
        self.origin_process = process
        try:
            yield [process.stdout.readline().split()[-1] for _ in range(count)]
        finally:
            process.terminate()
            process.wait()

    def load_command(self, mode, relay, sizes):
        command = [self.arguments.tools / "relay_load", mode, "--target", relay.target]
        for option, value in sizes.items():
            if option != "rounds":
                for word in value if isinstance(value, tuple) else (value,):
                    command += [f"--{option.replace('_', '-')}", str(word)]
        if relay.process:
            command += ["--watch", str(relay.process.pid)]
        return command

    def load(self, mode, relay, sizes):
        return self.loads(mode, [relay], sizes)[0]

    def loads(self, mode, relays, sizes):
        """One load for each relay named, all at once; a relay may be named twice."""
        ours = {relay.process.pid for relay in relays if relay.process}
        with Neighbours([self.origin_process.pid, *ours]) as neighbours:
            running = [
                subprocess.Popen(
                    self.load_command(mode, relay, sizes),
                    stdout=subprocess.PIPE,
                    text=True,
                    preexec_fn=lambda: prepare(self.other_cpu),
                )
                for relay in relays
            ]
            try:
                said = [process.communicate(timeout=300)[0] for process in running]
            finally:
                for process in running:
                    process.kill()  # nothing to one that has ended
                    process.wait()
            if any(process.returncode for process in running):
                raise RuntimeError("the load failed")
        return [{**json.loads(words), "neighbours": neighbours.cpus} for words in said]

    def measure(self, row, names, sizes, once, pick=None):
        """Takes each relay in turn, round after round: a change of the machine's mood hits all."""
        for turn in range(sizes["rounds"]):
            for name in names:
                sample = self.take(once, name, pick or self.relay)
                self.samples.setdefault(row, {}).setdefault(name, []).append(sample)
                print(
                    f"{row} {turn + 1}/{sizes['rounds']} {name}: {brief(sample)}",
                    file=sys.stderr,
                    flush=True,
                )

    def take(self, once, name, pick):
        """One sample; taken again if others had much of the CPU meanwhile, and the quietest kept."""
        takes = []
        while len(takes) < (1 if self.arguments.quick else TAKES_MAX):
            takes.append(once(pick(name)))
            if takes[-1].get("neighbours", 0) <= QUIET_CPUS:
                break
            print(f"disturbed, {name}: {brief(takes[-1])}", file=sys.stderr, flush=True)
        return min(takes, key=lambda sample: sample.get("neighbours", 0))

    def requests(self, sizes):
        def once(relay):
            with relay:
                result = self.load("requests", relay, sizes)
            if result["failed"] or not result["requests"]:
                self.problems.append(
                    f"requests, {relay.name}: {result['failed']} failed of {result['requests']}"
                )
            return result

        self.measure("requests", self.relays, sizes, once)

    def latency(self, sizes):
        """A pace that all can keep, two workers on whichever CPU."""

        def once(relay):
            with relay:
                result = self.load("requests", relay, sizes)
            share = result["requests"] / (sizes["rate"] * result["seconds"])
            if result["failed"] or (share < REQUESTS_SHARE_MIN and not self.arguments.quick):
                self.problems.append(
                    f"latency, {relay.name}: {result['failed']} failed, {share:.0%} of the pace"
                )
            return result

        def pick(name):
            return self.relay(name, 2, pinned=False)

        self.measure("latency", ["direct", *self.relays], sizes, once, pick)

    def scaling(self, sizes):
        """What it costs that two workers share a gateway: beside them, under the same two loads,
        two gateways of one worker each, which share nothing."""

        def once(relays):
            with contextlib.ExitStack() as running:
                for relay in dict.fromkeys(relays):
                    running.enter_context(relay)
                results = self.loads("requests", relays, sizes)
            watched = results if relays[0] is not relays[1] else results[:1]
            total = {
                "requests": sum(result["requests"] for result in results),
                "seconds": results[0]["seconds"],
                "used": {
                    part: sum(result["used"][part] for result in watched)
                    for part in results[0]["used"]
                },
                "neighbours": results[0]["neighbours"],
            }
            failed = sum(result["failed"] for result in results)
            share = total["requests"] / (2 * sizes["rate"] * total["seconds"])
            if failed or (share < REQUESTS_SHARE_MIN and not self.arguments.quick):
                self.problems.append(f"scaling: {failed} failed, {share:.0%} of the pace")
            return total

        def pick(name):
            if name == APART:
                return [self.relay("sollol", 1, pinned=False) for _ in range(2)]
            return [self.relay("sollol", 2, pinned=False)] * 2

        if "sollol" in self.relays:
            self.measure("scaling", [APART, "sollol"], sizes, once, pick)

    def streams(self, row, sizes):
        def once(relay):
            with relay:
                result = self.load("streams", relay, sizes)
            if result["lost"] or result["open_at_once"] < sizes["streams"]:
                self.problems.append(
                    f"{row}, {relay.name}: {result['lost']} of {sizes['streams']} streams lost, "
                    f"{result['open_at_once']} open at once; "
                    f"first loss: {result['first_loss'] or 'none'}"
                )
            return result

        self.measure(row, self.relays if row == "open" else ["direct", *self.relays], sizes, once)
        for name, samples in self.samples[row].items() if not self.arguments.quick else ():
            offered = sizes["streams"] * sizes["rate"]
            share = min(sample["tokens"] / (offered * sample["seconds"]) for sample in samples)
            if share < TOKENS_SHARE_MIN:
                self.problems.append(
                    f"{row}, {name}: only {share:.0%} of the tokens came in time: "
                    "something on the path was out of CPU"
                )

    def start(self, sizes):
        def once(relay):
            started = relay.start()
            try:
                return {"ms": (relay.wait_until_answering(ask_once(relay.target)) - started) * 1000}
            finally:
                relay.stop()

        self.measure("start", self.relays, sizes, once)


def pick_cpus():
    """A CPU for the relay and another for origin and load; with one only, nothing is pinned."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("one CPU only: nothing is pinned, and delays mean little", file=sys.stderr)
        return None, None
    return cpus[0], cpus[1]


def rows_named(text):
    """The rows to take, each once: token delays are measured while the tokens are counted."""
    rows = dict.fromkeys("tokens" if row == "delay" else row for row in text.split(","))
    for row in rows:
        if row not in FULL:
            raise argparse.ArgumentTypeError(f"no row is called '{row}'")
    return list(rows)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        type=rows_named,
        default=",".join(FULL),
        help="which to measure, of requests,latency,scaling,tokens,delay,open,start (default: all); "
        "delay comes with tokens",
    )
    parser.add_argument(
        "--relays", default=",".join(RELAYS), help="which to run (default: %(default)s)"
    )
    parser.add_argument(
        "--sollol",
        type=Path,
        default=REPOSITORY / "build/release/src/cli/sollol",
        help="the gateway's program (default: build/release/src/cli/sollol)",
    )
    parser.add_argument(
        "--sollol-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more word for its command line, as --sollol-option=--flag; repeatable",
    )
    parser.add_argument(
        "--tools",
        type=Path,
        default=REPOSITORY / "build/release/bench/relay",
        help="folder of relay_origin and relay_load (default: build/release/bench/relay)",
    )
    parser.add_argument(
        "--nodes", type=int, default=1, help="how many addresses the origin has (default: 1)"
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds of every row, in place of each row's own"
    )
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw the token delays there (with the row tokens)"
    )
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="what each feature of sollol costs, in the rows requests and tokens",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes: shows that all parts work, measures nothing",
    )
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no child outlives us
    plan = {row: dict(sizes) for row, sizes in (QUICK if arguments.quick else FULL).items()}
    held = min(plan["open"]["streams"], (file_limit() - SPARE_FILES) // 2)
    if held < plan["open"]["streams"]:
        print(
            f"{held:,} streams instead of {plan['open']['streams']:,}: "
            f"a process may open {file_limit():,} files here",
            file=sys.stderr,
        )
        plan["open"]["streams"] = held
    for sizes in plan.values():
        sizes["rounds"] = arguments.rounds or sizes["rounds"]
    with contextlib.ExitStack() as stack:
        bench = Bench(arguments, stack.enter_context(tempfile.TemporaryDirectory()), stack)
        steps = {
            "requests": bench.requests,
            "latency": bench.latency,
            "scaling": bench.scaling,
            "start": bench.start,
            "tokens": lambda sizes: bench.streams("tokens", sizes),
            "open": lambda sizes: bench.streams("open", sizes),
        }
        if arguments.ablate:
            print(ablate(bench, plan, arguments.rows))
            return report(bench)
        for row in arguments.rows:
            steps[row](plan[row])
    print(f"{table(bench.samples, f'{held:,}')}\n\n{quietness(bench.samples)}")
    if arguments.svg and "tokens" in bench.samples:
        arguments.svg.write_text(delay_svg(bench.samples["tokens"]))
    if arguments.json:
        arguments.json.write_text(
            json.dumps(
                {"plan": plan, "samples": bench.samples, "problems": bench.problems}, indent=1
            )
        )
    return report(bench)


def report(bench):
    for problem in bench.problems:
        print(f"problem: {problem}")
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
