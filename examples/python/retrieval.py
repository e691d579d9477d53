"""Answers questions from passages of text: embeds both, finds the passages nearest to each question, and has a model
answer from those alone.

    python retrieval.py --passages handbook.txt "When is the workshop open?" "Who has the keys?"
"""

import argparse
import heapq
import sys
from pathlib import Path
from typing import Sequence

from sollol import OllamaPool, SollolError

PASSAGES = """
The workshop is open on weekdays from 8 to 18 o'clock. On Saturdays it closes at noon, on Sundays it stays shut.

Keys are kept by the caretaker. Whoever takes one signs the book beside the door and brings it back the same day.

The large saw may be used only by people who have been instructed: that is done on the first Monday of a month.

Wood from the left shelf is free for all. Wood from the right shelf belongs to somebody whose name is written on it.

When the fire alarm sounds, leave by the yard. The meeting point is the chestnut tree beside the gate.
"""
QUESTIONS = ["When is the workshop open on Saturdays?", "Which wood may I take?", "Who may use the large saw?"]

Vector = Sequence[float]


def main() -> None:
    arguments = read_arguments()
    text = arguments.passages.read_text() if arguments.passages else PASSAGES
    passages = [passage.strip() for passage in text.split("\n\n") if passage.strip()]
    questions = arguments.questions or QUESTIONS
    with OllamaPool(arguments.node, gateway=arguments.gateway) as pool:
        # One batch for both: every text goes to the node that is free first.
        vectors = [answer.embeddings[0] for answer in pool.embed_batch(arguments.embed_model, [*passages, *questions])]
        known, asked = vectors[: len(passages)], vectors[len(passages) :]
        found = [nearest(vector, known, arguments.top) for vector in asked]
        conversations = [
            ask(question, [passages[index] for _, index in hits]) for question, hits in zip(questions, found)
        ]
        answers = pool.chat_batch(arguments.model, conversations)
    for question, hits, answer in zip(questions, found, answers):
        print(f"Question: {question}")
        for similarity, index in hits:
            print(f"  {similarity:.2f}  {passages[index]}")
        print(f"Answer: {answer.message.content}\n")


def nearest(vector: Vector, known: Sequence[Vector], count: int) -> list[tuple[float, int]]:
    """The most similar ones, best first: their similarity and index. Ollama's vectors have length 1, so the product of
    two is the cosine of their angle."""
    similarities = ((sum(a * b for a, b in zip(vector, other)), index) for index, other in enumerate(known))
    return heapq.nlargest(count, similarities)


def ask(question: str, passages: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Answer from these passages only:\n\n" + "\n\n".join(passages)},
        {"role": "user", "content": question},
    ]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers questions from passages of text.")
    parser.add_argument("questions", nargs="*", metavar="question", help="(default: three about a workshop)")
    parser.add_argument("--passages", metavar="FILE", type=Path, help="text, its passages separated by empty lines")
    parser.add_argument("--top", metavar="N", type=int, default=2, help="passages for each question (default: 2)")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--embed-model", default="nomic-embed-text")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gateway", metavar="URL", help="a running gateway, asked instead of nodes")
    where.add_argument("--node", metavar="URL", action="append", help="a node; may be repeated (default: looked for)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (OSError, SollolError) as failure:
        sys.exit(f"retrieval: {failure}")
