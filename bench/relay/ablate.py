"""What each feature of the gateway costs: the same load with one thing changed at a time."""

import statistics
import subprocess

from table import per_unit


def variants(sollol, folder, peers):
    """Name, relay, words for its command line, header fields of the load. The first of sollol is the base."""
    keys = folder / "keys.toml"
    # A key's rate is bounded below what a relay serves here.
    limits = ("--models", "llama*", "--concurrency", "100000")
    made = {
        name: subprocess.run(
            [sollol, "keys", "add", name, *words, "--keys-file", keys],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ).stdout.strip()
        for name, words in (("plain", ()), ("limited", limits))
    }
    bearer = {name: (f"Authorization: Bearer {key}",) for name, key in made.items()}
    log = ("--log-access", str(folder / "access.log"))
    with_keys = ("--keys-file", str(keys))
    return (
        *((peer, peer, (), ()) for peer in peers),
        ("as it comes, access log off", "sollol", (), ()),
        ("access log to a file", "sollol", log, ()),
        ("API keys", "sollol", with_keys, bearer["plain"]),
        ("API keys with limits, access log to a file", "sollol", (*with_keys, *log), bearer["limited"]),
        ("no resuming of streams", "sollol", ("--stream-resume", "off"), ()),
        ("no heartbeats", "sollol", ("--stream-heartbeat", "0"), ()),
        ("round robin in place of the cost model", "sollol", ("--policy", "round_robin"), ()),
        ("sockets through epoll", "sollol", ("--io", "epoll"), ()),
    )


def ablate(bench, plan):
    """Takes every variant in turn, round after round, and returns a Markdown table."""
    samples = {}
    peers = [name for name in bench.relays if name != "sollol"]
    chosen = variants(bench.arguments.sollol.resolve(), bench.folder, peers)
    for _ in range(plan["requests"]["rounds"]):
        for name, relay_name, words, fields in chosen:
            for mode, row in (("requests", "requests"), ("streams", "tokens")):
                with bench.relay(relay_name, options=words, fields=fields) as relay:
                    result = bench.load(mode, relay, {**plan[row], "field": fields})
                if result.get("failed") or result.get("lost"):
                    bench.problems.append(f"{name}: {mode} failed or were lost")
                samples.setdefault((name, row), []).append(per_unit(result)["cpu"])
    base = {
        row: statistics.median(samples[chosen[len(peers)][0], row]) for row in ("requests", "tokens")
    }
    lines = ["| variant | per request, µs | change | per token, µs | change |", "|---|--:|--:|--:|--:|"]
    for name, *_ in chosen:
        cells = []
        for row in ("requests", "tokens"):
            cost = statistics.median(samples[name, row])
            cells += [f"{cost:.2f}", f"{cost - base[row]:+.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
