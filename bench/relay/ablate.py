"""What each feature of the gateway costs: the same load with one thing changed at a time."""

import random
import subprocess

from table import per_unit


def variants(sollol, folder, peers):
    """Name, relay, words for its command line, the key that the load shows. The first of sollol is the base.

    All are sent a key, whether they ask for one or not: what is relayed is the same.
    """
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
    plain, limited = (f"Authorization: Bearer {key}" for key in made.values())
    log = ("--log-access", str(folder / "access.log"))
    with_keys = ("--keys-file", str(keys))
    return (
        *((peer, peer, (), plain) for peer in peers),
        *(
            (f"{peer}, access log to a file", peer, log, plain)
            for peer in peers
            if peer == "nginx"  # HAProxy writes to syslog alone
        ),
        ("as it comes, access log off", "sollol", (), plain),
        ("access log to a file", "sollol", log, plain),
        ("API keys", "sollol", with_keys, plain),
        ("API keys with limits, access log to a file", "sollol", (*with_keys, *log), limited),
        ("no resuming of streams", "sollol", ("--stream-resume", "off"), plain),
        ("no heartbeats", "sollol", ("--stream-heartbeat", "0"), plain),
        ("round robin in place of the cost model", "sollol", ("--policy", "round_robin"), plain),
        ("sockets through epoll", "sollol", ("--io", "epoll"), plain),
    )


def least_disturbed(costs):
    """The lower quartile: what disturbs a machine makes samples dearer, and never cheaper."""
    return sorted(costs)[(len(costs) - 1) // 4]


def ablate(bench, plan, rows):
    """Takes every variant in turn, in another order each round, and returns a Markdown table."""
    samples = {}
    peers = [name for name in bench.relays if name != "sollol"]
    chosen = variants(bench.arguments.sollol.resolve(), bench.folder, peers)
    modes = {row: mode for row, mode in (("requests", "requests"), ("tokens", "streams")) if row in rows}
    for _ in range(plan["requests"]["rounds"]):
        for name, relay_name, words, key in random.sample(chosen, len(chosen)):
            for row, mode in modes.items():
                with bench.relay(relay_name, options=words, fields=(key,)) as relay:
                    result = bench.load(mode, relay, {**plan[row], "field": (key,)})
                if result.get("failed") or result.get("lost"):
                    bench.problems.append(f"{name}: {mode} failed or were lost")
                samples.setdefault((name, row), []).append(per_unit(result)["cpu"])
    costs = {of: least_disturbed(taken) for of, taken in samples.items()}
    base = next(name for name, relay_name, *_ in chosen if relay_name == "sollol")
    lines = [
        "| variant | " + " | ".join(f"{row}, µs each | change" for row in modes) + " |",
        "|---|" + "--:|--:|" * len(modes),
    ]
    for name, *_ in chosen:
        cells = (f"{costs[name, row]:.2f} | {costs[name, row] - costs[base, row]:+.2f}" for row in modes)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
