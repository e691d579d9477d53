"""Answers a file of prompts, one a line, over all nodes. Prints JSON lines in the order of the prompts.

    python batch.py prompts.txt > answers.jsonl
    python batch.py prompts.txt --keep kept.jsonl > answers.jsonl    # the same command goes on after Ctrl-C
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sollol import BatchResult, OllamaPool, SollolError


def main() -> None:
    arguments = read_arguments()
    prompts = [line for line in arguments.prompts.read_text().splitlines() if line.strip()]
    requests = [{"model": arguments.model, "prompt": prompt} for prompt in prompts]
    failed = 0
    with OllamaPool(arguments.node, gateway=arguments.gateway) as pool:
        for result in pool.batch(requests, output=arguments.keep):
            print(json.dumps({"prompt": prompts[result.index], **outcome(result)}, ensure_ascii=False))
            failed += not result.ok
    print(f"{len(prompts) - failed} answered, {failed} failed", file=sys.stderr)
    sys.exit(1 if failed else 0)


def outcome(result: BatchResult) -> dict[str, Any]:
    """What became of a prompt: one that fails does not end the others."""
    if result.error is not None:
        return {"error": str(result.error)}
    answer = result.get()
    return {"response": answer["response"], "tokens": result.output_tokens, "node": result.node}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers a file of prompts, as JSON lines.")
    parser.add_argument("prompts", type=Path, help="a text file with one prompt a line; /dev/stdin reads a pipe")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--keep", metavar="FILE", help="what is done is kept there, and in FILE.journal")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gateway", metavar="URL", help="a running gateway, asked instead of nodes")
    where.add_argument("--node", metavar="URL", action="append", help="a node; may be repeated (default: looked for)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (OSError, SollolError) as failure:
        sys.exit(f"batch: {failure}")
