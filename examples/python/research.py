"""Looks into a question from several sides at once, then sums up what was found.

    python research.py "Should a small town run its own buses?" --side costs --side passengers --side climate
"""

import argparse
import functools
import sys

from sollol import OllamaPool, SollolError
from sollol.execution import execute

SIDES = ["history", "costs", "people concerned", "risks", "alternatives"]


def main() -> None:
    arguments = read_arguments()
    sides = arguments.side or SIDES
    with OllamaPool(arguments.node, gateway=arguments.gateway) as pool:
        parallel, _, reason = pool.advise(len(sides))
        print(f"{'at once' if parallel else 'one by one'}: {reason}\n")
        # Each task is a function of the pool, because it asks twice; one request alone could be a mapping of arguments.
        study = functools.partial(look_into, model=arguments.model, question=arguments.question)
        results = execute([functools.partial(study, side=side) for side in sides], pool)
        findings = []
        for side, result in zip(sides, results):
            print(f"{side}: {result.value if result.ok else result.error}\n")
            if result.ok:
                findings.append(f"{side}: {result.value}")
        if not findings:
            sys.exit("research: nothing was found out")
        sum_up(pool, arguments.model, arguments.question, findings)


def look_into(pool: OllamaPool, *, model: str, question: str, side: str) -> str:
    """Two turns of one conversation: facts, then what remains of them after a second look."""
    messages: list[object] = [{"role": "user", "content": f"{question} Name the facts that matter most as to {side}."}]
    messages.append(pool.chat(model, messages).message)
    messages.append({"role": "user", "content": "Leave out what is uncertain, and put the rest in one paragraph."})
    return pool.chat(model, messages).message.content or ""


def sum_up(pool: OllamaPool, model: str, question: str, findings: list[str]) -> None:
    """Prints the summary while it is written."""
    prompt = f"{question} Answer in three sentences, from these findings:\n\n" + "\n\n".join(findings)
    print("Summary: ", end="")
    for piece in pool.generate(model, prompt, stream=True):
        print(piece.response, end="", flush=True)
    print()


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Looks into a question from several sides at once, and sums up.")
    parser.add_argument("question", nargs="?", default="Should a small town run its own buses?")
    parser.add_argument("--side", action="append", help=f"may be repeated (default: {', '.join(SIDES)})")
    parser.add_argument("--model", default="llama3.2")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gateway", metavar="URL", help="a running gateway, asked instead of nodes")
    where.add_argument("--node", metavar="URL", action="append", help="a node; may be repeated (default: looked for)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except SollolError as failure:
        sys.exit(f"research: {failure}")
