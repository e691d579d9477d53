"""Ctrl-C, forks, and the end of the interpreter."""

import signal

import pytest

PROGRAM = """
import os, sys
from sollol import OllamaPool, NodeRegistry
pool = OllamaPool(nodes=sys.argv[1:])
"""

WAITS = {
    "call": 'print("waits"); pool.generate("slow", "Hello", options={"num_predict": 1000})',
    "stream": 'for piece in pool.generate("slow", "Hello", stream=True, options={"num_predict": 1000}): print("waits")',
    "batch": 'print("waits"); pool.chat_batch("slow", [[{"role": "user", "content": "Hello"}]] * 20)',
    "async": """
import asyncio
async def main():
    print("waits")
    await pool.generate_async("slow", "Hello", options={"num_predict": 1000})
asyncio.run(main())
""",
}


@pytest.mark.parametrize("kind", WAITS)
def test_ctrl_c_ends_what_waits(fleet, python, kind):
    process = python(PROGRAM + WAITS[kind], *fleet.urls)
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors


def test_a_forked_child_works_on_and_its_parent_too(fleet, python):
    process = python(PROGRAM + """
registry = NodeRegistry()
registry.add_node(sys.argv[1], name="one")
print(pool.generate("llama3.2", "Hello").done, flush=True)
child = os.fork()
if child == 0:
    print(pool.generate("llama3.2", "Hello").done, registry.nodes[sys.argv[1]].name, flush=True)
    sys.exit()
_, status = os.waitpid(child, 0)
print(status, pool.generate("llama3.2", "Hello").done, len(registry))
""", *fleet.urls)
    output, errors = process.communicate(timeout=30)
    assert output.split() == ["True", "True", "one", "0", "True", "1"], errors


def test_workers_of_multiprocessing_share_by_pickle(fleet, python):
    process = python("""
import sys
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from sollol import OllamaPool

def work(pool, number):
    return pool.generate("llama3.2", str(number)).done

if __name__ == "__main__":
    pool = OllamaPool(nodes=sys.argv[1:])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as workers:
        print(sum(workers.map(work, [pool] * 6, range(6))))
""", *fleet.urls)
    output, errors = process.communicate(timeout=60)
    assert output == "6\n", errors


def test_the_interpreter_ends_with_a_pool_in_use(fleet, python):
    process = python(PROGRAM + """
import threading
stream = pool.generate("slow", "Hello", stream=True)
next(stream)
threading.Thread(target=lambda: list(stream), daemon=True).start()
print("done")
""", *fleet.urls)
    output, errors = process.communicate(timeout=20)
    assert (output, process.returncode) == ("done\n", 0), errors
