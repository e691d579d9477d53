#!/usr/bin/env python3
"""Soaks a gateway: clients of every kind on every route, while nodes die, stall, lie and return.

Exit code 1 when a request got no right answer, a counter does not add up, or memory or descriptors
grow. README.md says what is checked and how.
"""

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from chart import svg
from checks import balance, flatness, quiet_balance
from fleet import Chaos, SimProcess, free_port, write_json
from gateway import Gateway
from load import Client, Ledger

REPOSITORY = Path(__file__).resolve().parents[2]
RECOVERY_S = 40  # for all nodes to be healthy once they behave
RELOAD_EVERY = 7  # seconds between reloads of the settings
IDLE_S = 15  # for the last request's traces to go
NODE_SUBNET = "127.0.7."

SETTINGS = {
    "log-access": "off",
    "state-file": "off",
    "log-level": "info",
    "workers": "2",
    "upstream-connect-timeout": "1",
    "upstream-response-timeout": "4",
    "upstream-idle-timeout": "5",
    "load-timeout": "6",
    "health-timeout": "1",
    "health-suspect-after": "0.5",
    "health-ejection-base": "0.3",
    "health-ejection-max": "4",
    "health-tags-interval": "2",
    "queue-max-wait": "8",
    "stream-heartbeat": "1",
    "stream-stall-timeout": "2",
    "limits-body-idle-timeout": "10",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="how long (default 5)")
    parser.add_argument("--quick", action="store_true", help="some ten seconds: does it work?")
    parser.add_argument("--seed", type=int, default=1, help="of load and faults (default 1)")
    parser.add_argument("--clients", type=int, default=32, help="at once (default 32)")
    parser.add_argument("--rate", type=float, default=160, help="turns of clients per second, at most (default 160)")
    parser.add_argument("--silence", type=float, default=30,
                        help="longest time without a byte, in seconds (default 30)")
    parser.add_argument("--sollol", default=str(REPOSITORY / "build/release/src/cli/sollol"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a flag of `sollol up`, such as io=epoll; may be repeated")
    parser.add_argument("--out", help="folder for samples.json, soak.svg and logs")
    return parser.parse_args()


class Soak:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.seconds = 9 if options.quick else options.minutes * 60
        self.draw = random.Random(options.seed)
        self.ledger = Ledger()
        self.samples, self.problems = [], []
        self.settings = [f"--{key}={value}" for key, value in SETTINGS.items()]
        self.settings += [f"--{wish}" for wish in options.set]
        self.steady = SimProcess(options.sollol, folder, "steady", [NODE_SUBNET + "1", NODE_SUBNET + "2"], 400)
        self.mortal = SimProcess(options.sollol, folder, "mortal", [NODE_SUBNET + "3", NODE_SUBNET + "4"], 250)
        self.chaos = Chaos(self.steady, self.mortal, random.Random(options.seed + 1))

    # ---- phases

    async def run(self):
        for process in (self.steady, self.mortal):
            process.start()
        nodes = self.steady.nodes | self.mortal.nodes
        self.gateway = Gateway(self.options.sollol, self.folder,
                               ("127.0.0.1", free_port("127.0.0.1")), nodes, self.settings)
        self.chaos.admin = self.gateway.admin
        try:
            await self._all_healthy("at the start")
            await self._storm()
            await self._all_healthy("after the last fault")
            await self._quiet()
            await self._idle()
            self.problems += balance(self)
        finally:
            code = self.gateway.stop()
            self.steady.stop()
            self.mortal.stop()
        if code not in (0, -15):
            self.problems.append(f"the gateway ended with {code}")
        self.problems += flatness(self)
        self.problems += self.chaos.errors
        self.problems += [f"client: {text}" for text in self.ledger.problems]

    async def _all_healthy(self, when):
        limit = time.monotonic() + RECOVERY_S
        states = {}
        # Only a request ends an ejection, so somebody has to ask.
        client = self._client(self.draw.getrandbits(32))
        while time.monotonic() < limit:
            if not self.gateway.alive():
                raise RuntimeError("the gateway is gone: see gateway.log")
            try:
                states = {name: node["state"] for name, node in
                          (await self.gateway.states()).items()}
            except OSError:
                await asyncio.sleep(0.05)
                continue
            if set(states.values()) == {"healthy"}:
                return
            if "on trial" in states.values():
                await client.turn(4)
            await asyncio.sleep(0.1)
        self.problems.append(f"not all nodes are healthy {when}: {states}")

    def _client(self, seed, strict=False):
        return Client(self.gateway.address, self.ledger, random.Random(seed),
                      self.options.silence, strict)

    async def _storm(self):
        until = time.monotonic() + self.seconds
        pause = self.options.clients / self.options.rate
        clients = [self._client(self.options.seed * 1000 + i) for i in range(self.options.clients)]
        watching = asyncio.create_task(self._watch(until))
        work = [client.run(until, pause, 25) for client in clients]
        await asyncio.gather(self.chaos.run(until, 0.7), watching, *work)

    async def _watch(self, until):
        started = time.monotonic()
        last, failures, printed = 0, 0, 0.0
        while time.monotonic() < until:
            now = time.monotonic() - started
            sample = {
                "t": round(now, 1), "rss_mb": self.gateway.rss_kb() / 1024,
                "descriptors": self.gateway.descriptors(),
                "requests": self.ledger.finished - last,
                "failures": self.ledger.failures - failures, "broken_nodes": len(self.chaos.broken),
                "problems": self.ledger.problem_count,
            }
            last, failures = self.ledger.finished, self.ledger.failures
            self.samples.append(sample)
            if now - printed >= (3 if self.options.quick else 10):
                printed = now
                print(f"{now:6.0f} s  {last:7} answered  {sample['requests']:4}/s  "
                      f"{self.ledger.failures:5} failures told  {sample['rss_mb']:6.1f} MB  "
                      f"{sample['descriptors']:4} descriptors  "
                      f"{sample['problems']} problems", flush=True)
            if len(self.samples) % RELOAD_EVERY == 0:
                self.gateway.reload()
            await asyncio.sleep(1)

    async def _quiet(self):
        """Nothing fails any more: each route must work, and every counter add up exactly."""
        await self._client(self.options.seed, strict=True).every_route(12, False)
        await self._no_traces()
        before = await self._counters()
        self.ledger.relayed_before = self.ledger.relayed
        self.ledger.tokens_before = self.ledger.tokens
        for round_ in range(1 if self.options.quick else 5):
            await self._client(self.options.seed + round_, strict=True).every_route(12, True)
        await self._no_traces()
        self.problems += quiet_balance(self, before, await self._counters())

    async def _counters(self):
        nodes = await self.steady.counters() | await self.mortal.counters()
        return {"nodes": nodes, "metrics": await self.gateway.metrics()}

    async def _no_traces(self):
        """Waits until nobody works on what clients have left behind."""
        limit = time.monotonic() + IDLE_S
        while time.monotonic() < limit:
            metrics = await self.gateway.metrics()
            nodes = await self.steady.counters() | await self.mortal.counters()
            busy = sum(metrics["sollol_node_in_flight"].values()) + sum(
                metrics["sollol_queued"].values()) + sum(n["in_flight"] for n in nodes.values())
            if busy == 0:
                return
            await asyncio.sleep(0.1)
        self.problems.append(f"{busy:.0f} requests are still in flight {IDLE_S} s after the last")

    async def _idle(self):
        """All clients gone: connections to nodes expire, and what is open is what was at first."""
        limit = time.monotonic() + IDLE_S
        while time.monotonic() < limit:
            self.metrics = await self.gateway.metrics()
            if sum(self.metrics["sollol_connections"].values()) <= 1:  # this one
                break
            await asyncio.sleep(0.2)
        else:
            self.problems.append("client connections stay open: "
                                 f"{sum(self.metrics['sollol_connections'].values()):.0f}")
        self.final_nodes = await self.steady.counters() | await self.mortal.counters()
        self.final_descriptors = self.gateway.descriptors()
        self.cpu_s = self.gateway.cpu_s()

    # ---- report

    def table(self):
        ledger, count = self.ledger, sum(self.ledger.sent.values())
        rows = [
            ("time under faults", f"{self.seconds:.0f} s, seed {self.options.seed}"),
            ("requests sent", f"{count}"),
            ("whole right answers", f"{ledger.outcomes['whole']}"),
            ("error answers, right form", f"{ledger.outcomes['error_answer']}"),
            ("streams ended by an error record", f"{ledger.outcomes['error_record']}"),
            ("left by the client", f"{ledger.outcomes['left']}"),
            ("anything else", f"{ledger.problem_count}"),
            ("longest silence", f"{ledger.silence_max_s:.1f} s, {ledger.silent_call}; "
                                f"bound {self.options.silence:g} s"),
            ("reloads of settings", f"{self.gateway.reloads}"),
            ("faults", ", ".join(f"{n} {what}" for what, n in sorted(self.chaos.done.items()))),
        ]
        if hasattr(self, "metrics"):
            total = lambda name: f"{sum(self.metrics[name].values()):.0f}"  # noqa: E731
            rows += [
                ("gateway: retries, broken streams",
                 f"{total('sollol_retries_total')}, {total('sollol_broken_streams_total')}"),
                ("gateway: streams resumed", total("sollol_resumed_streams_total")),
                ("gateway: stalls noticed, loads started, failed, joined", ", ".join(map(total, (
                    "sollol_stalled_streams_total", "sollol_loads_started_total",
                    "sollol_loads_failed_total", "sollol_loads_joined_total")))),
                ("gateway: heartbeats", total("sollol_heartbeats_total")),
                ("gateway: output tokens", total("sollol_output_tokens_total")),
                ("gateway: CPU time", f"{self.cpu_s:.1f} s"),
            ]
        rows += getattr(self, "flat_rows", [])
        return "\n".join(["| | |", "|---|---|"] + [f"| {name} | {value} |" for name, value in rows])

    def write(self, folder):
        write_json(folder / "samples.json", self.samples)
        (folder / "soak.svg").write_text(svg(
            f"soak, {self.seconds:.0f} s, seed {self.options.seed}", self.samples, [
                ("resident memory", "MB", [("rss_mb", "#1f77b4")]),
                ("open descriptors", "", [("descriptors", "#2ca02c")]),
                ("per second", "", [("requests", "#1f77b4"), ("failures", "#d62728")]),
                ("nodes broken", "", [("broken_nodes", "#9467bd")]),
            ]))


def main():
    options = arguments()
    if not os.access(options.sollol, os.X_OK):
        sys.exit(f"{options.sollol} is missing: build it, or name another with --sollol")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.out or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(options, folder)
        asyncio.run(soak.run())
        soak.write(folder)
        print("\n" + soak.table() + "\n")
        if soak.problems and not options.out:
            print((folder / "gateway.log").read_text()[-3000:])
    for problem in soak.problems:
        print(f"problem: {problem}")
    print("soak: " + (f"{len(soak.problems)} problems" if soak.problems else "nothing lost"))
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
