"""Samples in, lines and the table of bars out."""

import statistics

from proxies import PEERS, RELAYS


APART = "sollol, apart"  # two gateways of one worker, in the row `scaling`


def brief(sample):
    if "ms" in sample:
        return f"{sample['ms']:.1f} ms"
    count = sample.get("requests", sample.get("tokens"))
    cost = per_unit(sample)
    text = (
        f"{count} in {sample['seconds']:.1f} s, {cost['cpu']:.2f} us each ({cost['user']:.2f} user)"
    )
    if "held" in sample:
        text += f", {sample['held']['rss_kib'] / 1024:.1f} MiB"
        text += f", p99 {sample['to_socket_us']['p99']:.0f} us"
        text += f", {sample['reads']} reads, lost {sample['lost']}"
    return text + f", {sample['neighbours']:.2f} CPUs to others"


def per_unit(sample):
    """CPU microseconds for each request or token; the tick's split, scaled to the exact sum."""
    count = max(1, sample.get("requests", sample.get("tokens")))
    used = sample["used"]
    sampled = used["user_s"] + used["system_s"] or 1
    cpu = used["cpu_s"] * 1e6 / count
    return {
        "cpu": cpu,
        "user": cpu * used["user_s"] / sampled,
        "system": cpu * used["system_s"] / sampled,
        "busy": used["cpu_s"] / sample["seconds"],
    }


def median(samples, take):
    return statistics.median(take(sample) for sample in samples)


def ratio(ours, theirs, take):
    """The median over the rounds of ours ÷ theirs; nothing where theirs was too small to see."""
    pairs = [(take(a), take(b)) for a, b in zip(ours, theirs)]
    return statistics.median(a / b for a, b in pairs) if all(b > 0 for _, b in pairs) else None


def quietness(samples):
    """One line on how far the machine was ours; above some tenths, take the figures again."""
    shares = [
        sample["neighbours"]
        for row in samples.values()
        for relay in row.values()
        for sample in relay
        if "neighbours" in sample
    ]
    if not shares:
        return ""
    middle, most = statistics.median(shares), max(shares)
    return f"CPUs that others used meanwhile: median {middle:.2f}, most {most:.2f}."


def verdict(values, bar):
    return "–" if not values else "pass" if max(values) <= bar else "**miss**"


class Table:
    """The rows of the design's table, made of the samples."""

    def __init__(self, samples):
        self.samples, self.lines = samples, []

    def add(self, what, row, take, unit, bar=None, against=PEERS, bar_text=None, bar_value=None):
        """`bar` limits the ratio to each of `against`, `bar_value` the figure that `take` finds."""
        by_relay = dict(self.samples.get(row, {}))
        if not by_relay:
            return
        if "delay" not in what and "latency" not in what:
            by_relay.pop("direct", None)
        cells = [
            f"{median(by_relay[name], take):{unit}}" if name in by_relay else "–"
            for name in ("direct", *RELAYS)
        ]
        ratios = [
            (
                ratio(by_relay["sollol"], by_relay[peer], take)
                if "sollol" in by_relay and peer in by_relay
                else None
            )
            for peer in PEERS
        ]
        if bar_value is not None:
            judged = [median(by_relay["sollol"], take)] if "sollol" in by_relay else []
            result = verdict(judged, bar_value)
        else:
            judged = [r for peer, r in zip(PEERS, ratios) if r is not None and peer in against]
            result = verdict(judged, bar) if bar else ""
        cells += ["–" if r is None else f"{r:.2f}" for r in ratios]
        self.lines.append(f"| {' | '.join([what, *cells, bar_text or '', result])} |")

    def text(self):
        head = "| what | direct | nginx | HAProxy | sollol | ÷ nginx | ÷ HAProxy | bar | |"
        return "\n".join([head, "|---|--:|--:|--:|--:|--:|--:|---|---|", *self.lines])


def table(samples, streams_held):
    def cost(part):
        return lambda sample: per_unit(sample)[part]

    def delay(where, part):
        return lambda sample: sample[where][part]

    rows = Table(samples)
    for row, each, bar in (("requests", "request", 0.85), ("tokens", "token", 0.75)):
        rows.add(
            f"CPU per relayed {each}, µs", row, cost("cpu"), ".2f", bar, bar_text=f"≤ {bar} × both"
        )
        rows.add("… of it in user space", row, cost("user"), ".2f")
        rows.add("… of it in the kernel", row, cost("system"), ".2f")
    rows.add("request latency p50, µs", "requests", delay("latency_us", "p50"), ".0f")
    for part in ("p50", "p99"):
        rows.add(
            f"latency {part} at a pace, two workers, µs", "latency", delay("latency_us", part), ".0f"
        )
    rows.add("CPU per request at that pace, two workers, µs", "latency", cost("cpu"), ".2f")
    scaled = samples.get("scaling", {})
    if APART in scaled:
        times = 2 * ratio(scaled[APART], scaled["sollol"], cost("cpu"))
        judged = verdict([-times], -1.9)
        rows.lines.append(
            f"| two workers serve, × one that shares nothing, by CPU per request | | | | {times:.2f} | | | ≥ 1.9 | {judged} |"
        )
    for part, bar in (("p50", None), ("p99", 1), ("max", None)):
        rows.add(
            f"token delay {part}, origin to client's socket, µs",
            "tokens",
            delay("to_socket_us", part),
            ".0f",
            bar,
            against=("nginx",),
            bar_text="no worse than nginx" if bar else None,
        )
    rows.add(
        "token delay p99, as the client read it, µs", "tokens", delay("to_client_us", "p99"), ".0f"
    )
    rows.add(
        f"resident memory, {streams_held} open streams, MiB",
        "open",
        lambda sample: sample["held"]["rss_kib"] / 1024,
        ".1f",
        bar_text="≤ 200",
        bar_value=200,
    )
    rows.add(
        "… proportional (PSS), MiB", "open", lambda sample: sample["held"]["pss_kib"] / 1024, ".1f"
    )
    rows.add(
        "… streams lost", "open", lambda sample: sample["lost"], ".0f", bar_text="0", bar_value=0
    )
    rows.add(
        "start to first answer, ms",
        "start",
        lambda sample: sample["ms"],
        ".1f",
        bar_text="≤ 100",
        bar_value=100,
    )
    return rows.text()
