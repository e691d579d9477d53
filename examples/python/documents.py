"""Writes a document of many sections: first the outline, then all sections at once, each by a node that is free.

    python documents.py "Growing tomatoes on a balcony" --sections 6 > tomatoes.md
"""

import argparse
import json
import sys

from sollol import OllamaPool, SollolError
from sollol.execution import execute


def main() -> None:
    arguments = read_arguments()
    with OllamaPool(arguments.node, gateway=arguments.gateway) as pool:
        headings = outline(pool, arguments.model, arguments.topic, arguments.sections)
        tasks = [section(arguments.model, arguments.topic, headings, heading) for heading in headings]
        written = [result.get() for result in execute(tasks, pool)]
    print(f"# {arguments.topic}")
    for heading, answer in zip(headings, written):
        print(f"\n## {heading}\n\n{answer.response.strip()}")
    print(f"{len(written)} sections, {sum(answer.eval_count or 0 for answer in written)} tokens", file=sys.stderr)


def outline(pool: OllamaPool, model: str, topic: str, sections: int) -> list[str]:
    """The headings. The schema makes the model answer with a list of just so many."""
    schema = {"type": "array", "items": {"type": "string"}, "minItems": sections, "maxItems": sections}
    prompt = f"Write the {sections} headings of a document about: {topic}. As a JSON array, in reading order."
    headings: list[str] = json.loads(pool.generate(model, prompt, format=schema).response)
    return headings


def section(model: str, topic: str, headings: list[str], heading: str) -> dict[str, str]:
    """The task of writing one section. It knows the whole outline, so that it leaves to the others what is theirs."""
    whole = "\n".join(f"- {one}" for one in headings)
    prompt = f"A document about {topic} has these sections:\n{whole}\n\nWrite the section “{heading}”, and nothing else."
    return {"model": model, "system": "You write clear, plain prose without headings.", "prompt": prompt}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes a document of many sections, as Markdown.")
    parser.add_argument("topic", nargs="?", default="Growing tomatoes on a balcony")
    parser.add_argument("--sections", type=int, default=5)
    parser.add_argument("--model", default="llama3.2")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gateway", metavar="URL", help="a running gateway, asked instead of nodes")
    where.add_argument("--node", metavar="URL", action="append", help="a node; may be repeated (default: looked for)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except SollolError as failure:
        sys.exit(f"documents: {failure}")
