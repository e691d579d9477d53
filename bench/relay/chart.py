"""Token delays as a picture: p50, p99 and maximum of each relay, on a logarithmic scale."""

import math

from table import median

PARTS = (("p50", "#9ecae1"), ("p99", "#4292c6"), ("max", "#08519c"))
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 720, 90, 90, 16, 14, 56


def delay_svg(by_relay):
    """The SVG of the samples of the row `tokens`, by relay; medians over the rounds, microseconds."""
    delays = {
        name: [median(samples, lambda s, part=part: s["to_socket_us"][part]) for part, _ in PARTS]
        for name, samples in by_relay.items()
    }
    decades = max(1, math.ceil(math.log10(max(max(values) for values in delays.values()))))
    across = (WIDTH - LEFT - RIGHT) / decades
    height = TOP + len(delays) * (len(PARTS) * BAR + GAP) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">Token delay from the origin to the client\'s socket '
        "(logarithmic)</text>",
    ]
    for decade in range(decades + 1):
        x = LEFT + decade * across
        label = f"{10**decade} µs" if decade < 3 else f"{10 ** (decade - 3)} ms"
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP - 14}" text-anchor="middle" fill="#666">{label}</text>')
    y = TOP
    for name, values in delays.items():
        out.append(f'<text x="8" y="{y + BAR * len(PARTS) / 2 + 4:.1f}">{name}</text>')
        for (part, colour), value in zip(PARTS, values):
            length = across * math.log10(max(value, 1))
            out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{colour}"/>')
            text = f"{part} {value / 1000:.1f} ms" if value >= 1000 else f"{part} {value:.0f} µs"
            out.append(f'<text x="{LEFT + length + 5:.1f}" y="{y + BAR - 5}">{text}</text>')
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>\n"])
