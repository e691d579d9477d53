"""Time series as an SVG, without any library."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 900, 150, 70, 20, 30, 45


def _ticks(top):
    step = 1.0
    while top / step > 5:
        step *= 2.5 if str(step)[0] == "2" else 2
    return [step * i for i in range(int(top / step) + 1)]


def svg(title, samples, series):
    """`samples`: dicts with "t" (s); `series`: (label, unit, [(key, colour)])."""
    end = max(samples[-1]["t"], 1)
    total = TOP + len(series) * (HEIGHT + GAP) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{total}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{title}</text>',
    ]
    for index, (label, unit, lines) in enumerate(series):
        base = TOP + index * (HEIGHT + GAP) + 20
        top = max(1, max(s[key] for s in samples for key, _ in lines)) * 1.08
        x = lambda t: LEFT + t / end * (WIDTH - LEFT - RIGHT)  # noqa: E731
        y = lambda v, base=base, top=top: base + HEIGHT * (1 - v / top)  # noqa: E731
        out.append(f'<text x="{LEFT}" y="{base - 6}" font-weight="bold">{label}</text>')
        for tick in _ticks(top):
            out.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
                       f'{tick:g} {unit}</text>')
        for position, (key, colour) in enumerate(lines):
            path = " ".join(f"{x(s['t']):.1f},{y(s[key]):.1f}" for s in samples)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
            out.append(f'<text x="{LEFT + 160 + 130 * position}" y="{base - 6}" '
                       f'fill="{colour}">{key.replace("_", " ")}</text>')
    for part in range(7):
        seconds = end * part / 6
        out.append(f'<text x="{LEFT + part / 6 * (WIDTH - LEFT - RIGHT):.0f}" y="{total - 14}" '
                   f'text-anchor="middle">{seconds:.0f} s</text>')
    return "\n".join(out) + "\n</svg>\n"
