"""Batches: many requests over all nodes, as the library runs them."""

import asyncio
import json
import signal

import pytest
from sollol import AsyncOllamaPool, BatchResult, ChatResponse, EmbedResponse, GenerateResponse, errors

SHORT = {"num_predict": 2}
REQUESTS = [
    {"model": "llama3.2", "prompt": "Hello", "options": SHORT},
    {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}], "options": SHORT},
    {"model": "nomic-embed-text", "input": ["one", "two"]},
    {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    {"custom_id": "q", "method": "POST", "url": "/v1/chat/completions",
     "body": {"model": "llama3.2", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}},
]


def prompts(count, **more):
    return [{"model": "llama3.2", "prompt": f"number {i}", "options": SHORT, **more} for i in range(count)]


def test_requests_of_every_form_are_answered_in_order(pool):
    results = list(pool.batch(REQUESTS))
    assert [result.index for result in results] == [0, 1, 2, 3, 4]
    assert all(result.ok and result.node and result.attempts == 1 and result.seconds > 0 for result in results)
    generated, chat, embedded, openai, line = (result.get() for result in results)
    assert isinstance(generated, GenerateResponse) and generated.eval_count == 2
    assert isinstance(chat, ChatResponse) and chat.message.content
    assert isinstance(embedded, EmbedResponse) and len(embedded.embeddings) == 2
    assert openai.choices[0]["message"]["content"] and line.choices[0]["message"]["content"]
    assert [result.custom_id for result in results] == [None] * 4 + ["q"]
    assert results[0].output_tokens == 2 and results[2].prompt_tokens > 0


def test_results_come_while_the_batch_runs_and_a_left_one_ends(pool):
    slow = {"model": "slow", "prompt": "Hello", "options": {"num_predict": 1000}}
    results = pool.batch([*prompts(1), slow], as_they_finish=True, concurrency=2)
    assert next(results).index == 0
    results.close()
    assert pool.generate("llama3.2", "Hello", options=SHORT).done


def test_a_failed_request_does_not_end_the_others(pool):
    results = list(pool.batch([*prompts(2), {"model": "none", "prompt": "Hello"}, {"model": "llama3.2"}]))
    assert [result.ok for result in results] == [True, True, False, False]
    assert isinstance(results[2].error, errors.ModelNotFound)
    assert results[2].response is None and "none" in str(results[2].error)
    with pytest.raises(errors.SollolError):
        results[3].get()


def test_an_error_of_the_batch_file_form_has_its_words(pool):
    line = {"custom_id": "seven", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "none", "messages": []}}
    (result,) = pool.batch([line])
    assert result.custom_id == "seven" and isinstance(result.error, errors.RequestError), result.error


def test_the_same_call_goes_on_where_it_was(pool, tmp_path):
    output = tmp_path / "answers.jsonl"
    with pytest.raises(errors.SollolError, match="ended early"):
        list(pool.batch([{"model": "none", "prompt": "Hello"}, *prompts(20)], output=output, max_failures=0, concurrency=1))
    before = sum(node["requests"] for node in pool.stats()["nodes"])
    results = list(pool.batch([{"model": "none", "prompt": "Hello"}, *prompts(20)], output=output))
    assert [result.index for result in results] == list(range(21))
    assert [json.loads(line)["line"] for line in output.read_text().splitlines()] == list(range(1, 22))
    again = list(pool.batch([{"model": "none", "prompt": "Hello"}, *prompts(20)], output=output))
    after = sum(node["requests"] for node in pool.stats()["nodes"])
    assert [result.response for result in again] == [result.response for result in results]
    assert after - before <= 20


def test_what_cannot_be_used_is_told(pool, tmp_path):
    with pytest.raises(errors.ConfigError, match="concurrency"):
        pool.batch(prompts(1), concurrency=0)
    with pytest.raises(errors.ConfigError, match="max_failures"):
        pool.batch(prompts(1), max_failures=-1)
    with pytest.raises(errors.ConfigError, match="requests: .* 1 is"):
        list(pool.batch([*prompts(1), "Hello"]))
    with pytest.raises(errors.ConfigError, match="endpoint"):
        list(pool.batch(prompts(1), endpoint="/api/tags"))
    foreign = tmp_path / "theirs.txt"
    foreign.write_text("mine\n")
    with pytest.raises(errors.ConfigError, match="theirs.txt"):
        list(pool.batch(prompts(1), output=foreign))
    assert foreign.read_text() == "mine\n"
    assert list(pool.batch([])) == []


def test_it_is_awaited(fleet):
    async def main():
        async with AsyncOllamaPool(nodes=fleet.nodes) as pool:
            results = [result async for result in pool.batch(prompts(30))]
            assert [result.index for result in results] == list(range(30))
            assert all(isinstance(result, BatchResult) and result.ok for result in results)
            slow = pool.batch([{"model": "slow", "prompt": "Hello", "options": {"num_predict": 1000}}])
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(slow.__anext__(), 0.2)
            assert (await pool.generate("llama3.2", "Hello", options=SHORT)).done

    asyncio.run(main())


def test_a_gateway_is_asked_too(gateway):
    from sollol import OllamaPool

    with OllamaPool(gateway=gateway) as pool:
        assert [result.get().done for result in pool.batch(prompts(20))] == [True] * 20


def test_a_bar_is_shown_where_it_is_wanted(pool, capsys):
    pytest.importorskip("tqdm")
    list(pool.batch(prompts(3), progress=True))
    assert "3/3" in capsys.readouterr().err


def test_a_forked_child_leaves_its_parents_batch_alone(fleet, python):
    process = python("""
import os, sys
from sollol import OllamaPool
pool = OllamaPool(nodes=sys.argv[1:])
requests = [{"model": "llama3.2", "prompt": "Hello", "options": {"num_predict": 2}}] * 30
results = pool.batch(requests)
next(results)
child = os.fork()
if child == 0:
    del results
    print(len(list(pool.batch(requests))), flush=True)
    sys.exit()
_, status = os.waitpid(child, 0)
print(status, len(list(results)))
""", *fleet.urls)
    output, said = process.communicate(timeout=60)
    assert output.split() == ["30", "0", "29"], said


def test_ctrl_c_ends_it_and_it_goes_on(fleet, python, tmp_path):
    program = """
import sys
from sollol import OllamaPool
output, tokens, *urls = sys.argv[1:]
with OllamaPool(nodes=urls) as pool:
    requests = [{"model": model, "prompt": "Hello", "options": {"num_predict": count}}
                for model, count in (("llama3.2", 2), ("slow", int(tokens)))]
    for result in pool.batch(requests, output=output, as_they_finish=True, concurrency=2):
        print(result.index)
"""
    output = str(tmp_path / "answers.jsonl")
    process = python(program, output, "100000", *fleet.urls)
    assert process.stdout.readline() == "0\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    process = python(program, output, "1", *fleet.urls)
    assert sorted(process.communicate(timeout=30)[0].split()) == ["0", "1"]
