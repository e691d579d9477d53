"""The registry of nodes."""

import json

import pytest
from sollol import NodeRegistry, errors


@pytest.fixture
def registry():
    made = NodeRegistry()
    yield made
    made.close()


def test_a_node_is_asked_before_it_is_added(registry, fleet):
    node = registry.add_node(fleet.urls[0], name="one", priority=2)
    assert (node.url, node.name, node.priority) == (fleet.urls[0], "one", 2)
    assert "llama3.2:latest" in node.capabilities.models
    assert registry.add_node(fleet.urls[0] + "/", name="two").name == "one"
    with pytest.raises(ConnectionError, match="OLLAMA_HOST=0.0.0.0"):
        registry.add_node("http://127.0.0.1:1")
    assert registry.add_node("http://127.0.0.1:1", auto_probe=False).metrics.is_healthy is False
    assert list(registry.nodes) == [fleet.urls[0], "http://127.0.0.1:1"]


@pytest.mark.parametrize("arguments, word", [({"url": "ftp://x"}, "url"), ({"url": "http://x", "priority": -1},
                                                                          "priority")])
def test_wrong_arguments_are_named(registry, arguments, word):
    with pytest.raises(errors.ConfigError, match=word):
        registry.add_node(**arguments)


def test_who_is_there_is_told_and_who_stays_away_goes(registry, fleet):
    registry.add_node(fleet.urls[0])
    registry.add_node("http://127.0.0.1:1", auto_probe=False)
    for failures in (1, 2):
        assert registry.health_check_all(max_failures=3) == {fleet.urls[0]: True, "http://127.0.0.1:1": False}
        assert registry.nodes["http://127.0.0.1:1"].metrics.consecutive_failures == failures
    registry.health_check_all(max_failures=3)
    assert list(registry.nodes) == [fleet.urls[0]]
    node = registry.get_node_by_url(fleet.urls[0])
    assert len(node.metrics.latencies) == 3 and all(latency > 0 for latency in node.metrics.latencies)
    assert registry.get_healthy_nodes() == [node]


def test_gpus_show_when_a_model_is_loaded(registry, fleet, pool):
    pool.warm_model("llama3.2")
    for url in fleet.urls:
        registry.add_node(url)
    assert [node.url for node in registry.get_gpu_nodes()] == [
        node.url for node in registry.nodes.values() if node.capabilities.has_gpu]
    assert all(node.capabilities.memory > 0 for node in registry.nodes.values())


def test_node_files_are_kept_as_they_are(registry, fleet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps({"nodes": [{"url": fleet.urls[0], "name": "one", "priority": 4}], "more": 1}))
    assert registry.load_config("~/nodes.json") == 1
    registry.add_node(fleet.urls[1])
    assert registry.save_config("~/nodes.json") == 1
    saved = json.loads(file.read_text())
    assert saved["more"] == 1 and [node["url"] for node in saved["nodes"]] == fleet.urls[:2]
    with pytest.raises(errors.ConfigError):
        registry.load_config("~/none.json")


def test_nodes_are_found_where_they_are_looked_for(registry, fleet):
    port = int(fleet.nodes[0]["port"])
    found = registry.discover_nodes("127.0.0.1/32", port=port)
    assert [node.url for node in found] == [fleet.urls[0]]
    assert registry.discover_nodes("127.0.0.1/32", port=port) == []
    with pytest.raises(errors.ConfigError):
        registry.discover_nodes("8.8.8.0/24")


def test_machines_are_counted_and_advice_given(registry, fleet):
    registry.add_node(fleet.urls[0], host="rack")
    registry.add_node(fleet.urls[1], host="attic")
    assert registry.count_unique_physical_hosts() == 2
    assert registry.should_use_parallel_execution(3) and not registry.should_use_parallel_execution(1)
    assert "rack" in registry.explain()
    assert registry.remove_node(fleet.urls[1]) and not registry.remove_node(fleet.urls[1])
    assert len(registry) == 1


def test_it_can_be_imported_as_programs_do():
    from node_registry import NodeRegistry as Same

    assert Same is NodeRegistry
