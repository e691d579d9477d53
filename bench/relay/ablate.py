"""What each feature of the gateway costs: the same load with one thing changed at a time."""

import statistics
import subprocess

from table import per_unit


def variants(sollol, folder):
    """Name, words for the command line, header fields of the load; the first is the base."""
    keys = folder / "keys.toml"
    made = subprocess.run(
        [sollol, "keys", "add", "bench", "--keys-file", keys],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return (
        ("as it comes, access log off", (), ()),
        ("access log to a file", ("--log-access", str(folder / "access.log")), ()),
        ("API keys", ("--keys-file", str(keys)), (f"Authorization: Bearer {made.stdout.strip()}",)),
        ("no resuming of streams", ("--stream-resume", "off"), ()),
        ("no heartbeats", ("--stream-heartbeat", "0"), ()),
        ("round robin in place of the cost model", ("--policy", "round_robin"), ()),
        ("sockets through epoll", ("--io", "epoll"), ()),
    )


def ablate(bench, plan):
    """Takes every variant in turn, round after round, and returns a Markdown table."""
    samples = {}
    chosen = variants(bench.arguments.sollol.resolve(), bench.folder)
    for _ in range(plan["requests"]["rounds"]):
        for name, words, fields in chosen:
            for mode, row in (("requests", "requests"), ("streams", "tokens")):
                with bench.relay("sollol", options=words, fields=fields) as relay:
                    result = bench.load(mode, relay, {**plan[row], "field": fields})
                if result.get("failed") or result.get("lost"):
                    bench.problems.append(f"{name}: {mode} failed or were lost")
                samples.setdefault((name, row), []).append(per_unit(result)["cpu"])
    base = {row: statistics.median(samples[chosen[0][0], row]) for row in ("requests", "tokens")}
    lines = ["| variant | per request, µs | change | per token, µs | change |", "|---|--:|--:|--:|--:|"]
    for name, *_ in chosen:
        cells = []
        for row in ("requests", "tokens"):
            cost = statistics.median(samples[name, row])
            cells += [f"{cost:.2f}", f"{cost - base[row]:+.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
