#!/usr/bin/env python3
"""Prints those functions of a profile (as `llvm-profdata merge --text` writes it) that ran often.

Usage: hot_functions.py PROFILE
The rest are left to the compiler's own judgement, and out of the repository.
"""

import sys
from pathlib import Path

SHARE_MIN = 1e-6  # of all that the profile counts


def records(text):
    """The profile's head, then one block of lines for each function."""
    lines = text.splitlines(keepends=True)
    head = 0
    while lines[head].startswith(("#", ":")):
        head += 1
    return "".join(lines[:head]), "".join(lines[head:]).strip().split("\n\n")


def counts(block):
    lines = block.splitlines()
    first = lines.index("# Counter Values:") + 1
    number = int(lines[lines.index("# Num Counters:") + 1])
    return [int(line) for line in lines[first : first + number]]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    head, blocks = records(Path(sys.argv[1]).read_text())
    total = sum(sum(counts(block)) for block in blocks)
    hot = [block for block in blocks if max(counts(block)) >= SHARE_MIN * total]
    print(head + "\n\n".join(hot))
    print(f"{len(hot)} of {len(blocks)} functions kept", file=sys.stderr)


main()
