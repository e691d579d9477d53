"""Many tasks: at once and in turn, with their errors, and cancelled."""

import sys
import threading

import pytest
from sollol import OllamaPool, errors
from sollol.execution import Cancelled, execute, execute_parallel, execute_sequential

HELLO = [{"role": "user", "content": "Hello"}]


def tasks_of_every_kind():
    return [
        {"model": "llama3.2", "messages": HELLO},
        {"model": "llama3.2", "prompt": "Hello"},
        {"model": "nomic-embed-text", "input": "Hello"},
        {"model": "none", "prompt": "Hello"},
        lambda pool: pool.generate("llama3.2", "Hello").response,
        lambda pool: 1 / 0,
        {"model": "llama3.2", "prompt": "Hello", "colour": "red"},
    ]


@pytest.mark.parametrize("run", [execute_parallel, execute_sequential, execute])
def test_results_come_in_order_each_with_its_error(pool, run):
    chat, generated, embedded, missing, function, broken, wrong = run(tasks_of_every_kind(), pool)
    assert chat.get().message.content and generated.get().response and embedded.get().embeddings
    assert function.get()
    for failed, kind in ((missing, errors.ModelNotFound), (broken, ZeroDivisionError), (wrong, errors.ConfigError)):
        assert not failed.ok and isinstance(failed.error, kind)
        with pytest.raises(kind):
            failed.get()


def test_advice_is_followed(fleet, monkeypatch):
    import sollol.execution as execution

    ran = []
    real = execution.execute_parallel
    monkeypatch.setattr(execution, "execute_parallel", lambda *words, **more: ran.append(1) or real(*words, **more))
    with OllamaPool(nodes=fleet.nodes) as pool:  # one machine
        assert all(result.ok for result in execute([tasks_of_every_kind()[0]] * 3, pool))
        assert ran == []
        monkeypatch.setattr(OllamaPool, "should_use_parallel_execution", lambda self, num_tasks: num_tasks > 1)
        assert all(result.ok for result in execute([tasks_of_every_kind()[0]] * 3, pool, max_workers=2))
        assert ran == [1]


def test_where_a_gateway_gives_no_advice_tasks_run_at_once(gateway_with_key):
    url, key = gateway_with_key
    with OllamaPool(gateway=url, api_key=key) as pool:
        assert all(result.ok for result in execute([{"model": "llama3.2", "prompt": "Hello"}] * 3, pool))
        with pytest.raises(errors.RequestError, match="admin"):
            pool.nodes


@pytest.mark.parametrize("run", [execute_parallel, execute_sequential])
def test_a_cancelled_run_ends_what_waits(pool, run):
    cancel = threading.Event()
    slow = {"model": "slow", "prompt": "Hello", "options": {"num_predict": 10}}

    def first(pool):
        cancel.set()
        return "done"

    results = run([first, *[slow] * 20], pool, cancel=cancel)
    assert results[0].value == "done" or isinstance(results[0].error, Cancelled)
    assert isinstance(results[-1].error, Cancelled)


def test_a_bar_is_shown_when_it_is_asked_for(pool, capfd, monkeypatch):
    execute_parallel([{"model": "llama3.2", "prompt": "Hello"}] * 3, pool, progress=True)
    assert "3/3" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(errors.ConfigError, match=r"sollol\[progress\]"):
        execute_parallel([], pool, progress=True)
    execute_parallel([], pool)


@pytest.mark.parametrize("arguments, word", [({"engine": "spark"}, "engine"), ({"max_workers": 0}, "max_workers")])
def test_wrong_arguments_are_named(pool, arguments, word):
    with pytest.raises(errors.ConfigError, match=word):
        execute_parallel([], pool, **arguments)


def test_the_router_takes_many_to_the_pool_and_refuses_what_no_node_holds(pool):
    from sollol.ray_hybrid_router import RayHybridRouter

    router = RayHybridRouter(pool, [{"host": "10.0.0.1", "port": 50052}], coordinator_base_port=18081,
                             sharded_models=["huge"])
    assert router.coordinator_port == 18081 and router.route("huge") == "rpc"
    assert all(answer.done for answer in router.chat_many("llama3.2", [HELLO] * 5))
    assert all(result.ok for result in router.run([{"model": "llama3.2", "messages": HELLO}, lambda pool: pool.list()]))
    with pytest.raises(errors.ShardingUnavailable):
        router.run([{"model": "llama3.2", "prompt": "x"}, {"model": "huge", "prompt": "x"}])
    with pytest.raises(errors.ShardingUnavailable, match="10.0.0.1:50052"):
        router.chat("huge", HELLO)
    with pytest.raises(errors.ConfigError, match="coordinator_base_port"):
        RayHybridRouter(pool, coordinator_port=1, coordinator_base_port=2)
    with pytest.raises(errors.ConfigError, match="rpc_backends"):
        RayHybridRouter(pool, [{"port": 1}])


def test_what_no_node_can_hold_goes_to_the_backends(pool, monkeypatch):
    from sollol.ray_hybrid_router import RayHybridRouter

    def node(size, agent):
        return {"models": [{"name": "llama3.2:latest", "size": size}], **agent}

    def agent(memory, gpu):
        return {"agent": {"memory_total": memory, "gpus": [{"memory_total": gpu}]}}

    fleets = {
        "rpc": [node(30, agent(10, 10)), node(30, agent(10, 12))],
        "pool": [node(30, agent(10, 10)), node(30, {})],
    }
    for side, nodes in fleets.items():
        monkeypatch.setattr(OllamaPool, "_facts", lambda self, target, nodes=nodes: {"nodes": nodes})
        assert RayHybridRouter(pool, [{"host": "10.0.0.1"}]).route("llama3.2") == side
        assert RayHybridRouter(pool).route("llama3.2") == "pool"
    monkeypatch.setattr(OllamaPool, "_facts", lambda self, target: {"nodes": [node(30, agent(20, 11))]})
    assert RayHybridRouter(pool, [{"host": "10.0.0.1"}]).route("llama3.2") == "pool"
