"""The package's types, as mypy sees them."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/python"

PROGRAM = """
import asyncio
from typing import List
from node_registry import NodeRegistry
from sollol import AsyncOllamaPool, BatchResult, OllamaPool
from sollol.discovery import discover_ollama_nodes

nodes = discover_ollama_nodes(timeout=0.5)
host: str = nodes[0]["host"]
pool = OllamaPool(nodes=nodes)
content = pool.chat("m", [{"role": "user", "content": "x"}]).message.content
length: int = 0 if content is None else len(content)
for piece in pool.generate("m", "x", stream=True):
    text: str = piece.response
vectors = [answer.embeddings[0] for answer in pool.embed_batch("m", ["a"])]
number: float = vectors[0][0]
results: List[BatchResult] = list(pool.batch([{"model": "m", "prompt": "x"}], output="answers.jsonl"))
tokens: int = results[0].output_tokens
healthy: List[str] = [node.url for node in NodeRegistry().get_healthy_nodes()]


async def main() -> None:
    async with AsyncOllamaPool(nodes) as many:
        answer = await many.chat("m", [])
        reveal_type(answer.message.content)
        async for one in await many.generate("m", "x", stream=True):
            print(one.response)
        async for result in many.batch([{"model": "m", "prompt": "x"}]):
            print(result.get(), result.node)


asyncio.run(main())
"""


def mypy(*words):
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir=/dev/null", *words],
                          capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout


def test_the_package_is_clean():
    status, said = mypy("-p", "sollol")
    assert status == 0, said


def test_a_users_program_is_clean(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    status, said = mypy(str(program))
    assert status == 0, said
    assert 'Revealed type is "str | None"' in said or "Union[builtins.str, None]" in said, said


def test_the_examples_are_clean():
    status, said = mypy(*(str(EXAMPLES / f"{name}.py") for name in ("batch", "documents", "research", "retrieval")))
    assert status == 0, said
