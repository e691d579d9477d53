"""Answers a file of prompts, one a line, with all nodes at once. Prints JSON lines in the order of the prompts.

    python batch.py prompts.txt > answers.jsonl
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sollol import OllamaPool, SollolError
from sollol.execution import TaskResult, execute


def main() -> None:
    arguments = read_arguments()
    prompts = [line for line in arguments.prompts.read_text().splitlines() if line.strip()]
    tasks = [{"model": arguments.model, "prompt": prompt} for prompt in prompts]
    with OllamaPool(arguments.node, gateway=arguments.gateway) as pool:
        results = execute(tasks, pool)
    for prompt, result in zip(prompts, results):
        print(json.dumps({"prompt": prompt, **outcome(result)}, ensure_ascii=False))
    failed = sum(not result.ok for result in results)
    print(f"{len(results) - failed} answered, {failed} failed", file=sys.stderr)
    sys.exit(1 if failed else 0)


def outcome(result: TaskResult[Any]) -> dict[str, Any]:
    """What became of a prompt: one that fails does not end the others."""
    if result.error is not None:
        return {"error": str(result.error)}
    answer = result.get()
    return {"response": answer.response, "tokens": answer.eval_count}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers a file of prompts, as JSON lines.")
    parser.add_argument("prompts", type=Path, help="a text file with one prompt a line; /dev/stdin reads a pipe")
    parser.add_argument("--model", default="llama3.2")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gateway", metavar="URL", help="a running gateway, asked instead of nodes")
    where.add_argument("--node", metavar="URL", action="append", help="a node; may be repeated (default: looked for)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (OSError, SollolError) as failure:
        sys.exit(f"batch: {failure}")
