"""The pool: asking, streaming, failing, and what it tells."""

import pickle
import threading
import time

import pytest
import sollol
from sollol import OllamaPool, errors

HELLO = [{"role": "user", "content": "Hello"}]


def eventually(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_a_chat_has_the_fields_of_ollamas_client(pool):
    answer = pool.chat(model="llama3.2", messages=HELLO, options={"num_predict": 5})
    assert answer.message.role == "assistant"
    assert answer.message.content == answer["message"]["content"] != ""
    assert answer.eval_count == answer["eval_count"] == 5
    assert answer.done and answer.get("done_reason") == "length"
    assert answer.sollol_node in pool.explain()
    assert answer.message.tool_calls is None
    assert "total_duration" in answer and "nothing" not in answer
    with pytest.raises(AttributeError):
        answer.nothing
    with pytest.raises(KeyError):
        answer["nothing"]
    assert answer.model_dump()["message"]["role"] == "assistant"


def test_an_answers_message_goes_back_into_the_conversation(pool):
    answer = pool.chat("llama3.2", HELLO)
    assert pool.chat("llama3.2", [*HELLO, answer.message, *HELLO]).prompt_eval_count > answer.prompt_eval_count


def test_a_stream_is_the_answer_in_pieces(pool):
    options = {"num_predict": 20, "seed": 1}
    pieces = list(pool.generate("llama3.2", "Hello", stream=True, options=options))
    assert len(pieces) > 5
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(piece.response for piece in pieces[:-1])


def test_an_abandoned_stream_ends_the_work_at_the_node(pool):
    stream = pool.generate("slow", "Hello", stream=True)
    next(stream)
    assert pool.stats()["in_flight"] == 1
    stream.close()
    eventually(lambda: pool.stats()["in_flight"] == 0)


def test_embeddings_of_many_texts_keep_their_order(pool):
    texts = [f"text {number}" for number in range(100)]
    done = []
    answers = pool.embed_batch("nomic-embed-text", texts, max_workers=8, progress=done.append)
    assert [answer.embeddings for answer in answers] == [
        pool.embed("nomic-embed-text", text).embeddings for text in texts]
    assert done == list(range(1, 101))
    used = [node for node in pool.stats()["nodes"] if node["requests"] > 0]
    assert len(used) == 3
    assert pool.embed_batch("nomic-embed-text", []) == []


def test_a_failing_member_of_a_batch_raises(pool):
    with pytest.raises(errors.ModelNotFound):
        pool.embed_batch("none", ["a", "b"])
    with pytest.raises(errors.ConfigError, match="max_workers"):
        pool.embed_batch("nomic-embed-text", ["a"], max_workers=0)


def test_functions_are_tools(pool):
    def weather(city: str, days: int = 1) -> str:
        """Tells the weather.

        Args:
          city: where
          days: how many
        """
        return f"{city} {days}"

    from sollol._requests import tool_of

    function = tool_of(weather)["function"]
    assert function["name"] == "weather" and function["description"] == "Tells the weather."
    assert function["parameters"]["properties"]["days"] == {"type": "integer", "description": "how many"}
    assert function["parameters"]["required"] == ["city"]
    assert pool.chat("llama3.2", HELLO, tools=[weather]).done


@pytest.mark.parametrize("ask, kind", [
    (lambda pool: pool.chat("none", HELLO), errors.ModelNotFound),
    (lambda pool: next(pool.chat("none", HELLO, stream=True)), errors.ModelNotFound),
    (lambda pool: pool.chat("llama3.2", HELLO, priority=11), errors.ConfigError),
    (lambda pool: pool.chat("llama3.2", HELLO, options={"num_ctx": object()}), errors.ConfigError),
    (lambda pool: pool.add_node("127.0.0.1", 1), errors.NodeUnreachable),
    (lambda pool: pool.add_node("ftp://127.0.0.1"), errors.ConfigError),
])
def test_each_failure_has_its_type(pool, ask, kind):
    with pytest.raises(kind) as caught:
        ask(pool)
    assert isinstance(caught.value, errors.SollolError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is kind and str(again) == str(caught.value)


def test_wrong_arguments_are_named(fleet):
    for arguments, word in (({"nodes": [{}]}, "nodes"), ({"nodes": [{"host": "a", "priority": -1}]}, "priority"),
                            ({"nodes": [{"host": "a", "slots": -1}]}, "slots"),
                            ({"nodes": [], "routing_strategy": "best"}, "best"),
                            ({"nodes": [], "workers": 0}, "workers"),
                            ({"nodes": [], "gateway": "http://127.0.0.1:1"}, "gateway")):
        with pytest.raises(errors.ConfigError, match=word):
            OllamaPool(**arguments)


def test_without_nodes_the_mend_is_told():
    with OllamaPool(nodes=[]) as pool, pytest.raises(errors.NoNodeAvailable, match="sollol doctor") as caught:
        pool.chat("llama3.2", HELLO)
    assert isinstance(caught.value, ConnectionError)


def test_an_answer_that_takes_too_long_is_given_up(fleet):
    with OllamaPool(nodes=fleet.nodes, timeout=0.1) as pool:
        with pytest.raises(errors.RequestTimeout, match="0.1 s"):
            pool.chat("slow", HELLO)
        eventually(lambda: pool.stats()["in_flight"] == 0)


@pytest.mark.parametrize("strategy", ["intelligent", "round_robin", "latency_first", "least_loaded", "fairness",
                                      "power_of_two", "random", "priority"])
def test_every_strategy_answers(fleet, strategy):
    with OllamaPool(nodes=fleet.nodes, routing_strategy=strategy) as pool:
        assert pool.chat("llama3.2", HELLO, options={"num_predict": 1}).done
        assert pool.get_stats()["routing_strategy"] == strategy


def test_nodes_come_and_go(fleet):
    with OllamaPool(nodes=fleet.nodes[:1]) as pool:
        pool.add_node(**fleet.nodes[1])
        pool.add_node(fleet.urls[2], priority=3)
        assert pool.nodes == fleet.nodes
        pool.add_node(fleet.urls[2])
        assert len(pool.nodes) == 3
        assert pool.remove_node(**fleet.nodes[0]) and pool.remove_node(fleet.urls[1])
        assert not pool.remove_node(fleet.urls[1])
        assert pool.nodes == fleet.nodes[2:]
        assert pool.chat("llama3.2", HELLO).done


def test_it_tells_what_it_knows(pool):
    pool.chat("llama3.2", HELLO)
    known = pool.get_stats()
    assert known["nodes_configured"] == 3 and known["total_requests"] == 1
    assert "1 machine, 3 nodes" in pool.explain()
    assert "last choice" in pool.explain("llama3.2") and "no node has it" in pool.explain("none")
    assert pool.count_unique_physical_hosts() == 1
    assert pool.should_use_parallel_execution(num_tasks=1) is False
    assert pool.list().models[0].model and pool.show("llama3.2").details is not None
    assert pool.warm_models(["llama3.2", "nomic-embed-text", "none"]) == {
        "llama3.2": True, "nomic-embed-text": True, "none": False}
    assert {model.model for model in pool.ps().models} >= {"llama3.2:latest", "nomic-embed-text:latest"}


def test_it_pickles_by_its_configuration(pool):
    pool.add_node(pool.nodes[0]["host"], pool.nodes[0]["port"])
    with pickle.loads(pickle.dumps(pool)) as copy:
        assert copy.nodes == pool.nodes
        assert copy.chat("llama3.2", HELLO).done


def test_a_closed_pool_says_so(fleet):
    pool = OllamaPool(nodes=fleet.nodes)
    pool.stop()
    with pytest.raises(errors.SollolError, match="closed"):
        pool.chat("llama3.2", HELLO)
    pool.stop()


def test_others_run_while_one_waits(pool):
    stream = pool.generate("slow", "Hello", stream=True)
    next(stream)
    waiting = threading.Thread(target=lambda: next(stream))
    waiting.start()
    assert pool.chat("llama3.2", HELLO, options={"num_predict": 1}).done  # 200 ms before the next token
    waiting.join()


def test_many_threads_share_a_pool(pool):
    failed = []

    def work():
        try:
            for _ in range(20):
                assert pool.chat("llama3.2", HELLO, options={"num_predict": 1}).done
        except BaseException as failure:  # noqa: B902
            failed.append(failure)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_the_same_through_a_gateway(gateway):
    with OllamaPool(gateway=gateway, app_name="tests") as pool:
        eventually(lambda: "tests" in {one["name"] for one in pool._facts("applications")["applications"]})
        assert pool.chat("llama3.2", HELLO).done
        assert [piece.done for piece in pool.generate("llama3.2", "Hello", stream=True)][-1]
        assert len(pool.embed_batch("nomic-embed-text", ["a", "b"])) == 2
        assert len(pool.nodes) == 3 and pool.count_unique_physical_hosts() == 1
        copy = pickle.loads(pickle.dumps(pool))
        assert copy.embed("nomic-embed-text", "a").embeddings
        with pytest.raises(errors.SollolError, match="by itself"):
            pool.discover()
    with pytest.raises(errors.NodeUnreachable, match="sollol up"):
        OllamaPool(gateway="http://127.0.0.1:1")


def test_the_module_tells_its_version():
    assert sollol.__version__.count(".") == 2
