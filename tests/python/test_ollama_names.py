"""Programs of Ollama's own client, with the import changed."""

import asyncio

import pytest
from sollol import ollama
from sollol.ollama import AsyncClient, Client, ResponseError

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def default_pool(fleet, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fleet.urls[0])
    yield
    ollama._shared().close()
    ollama._pool = None


def test_the_modules_functions_ask_what_the_environment_names(default_pool):
    assert ollama.chat(model="llama3.2", messages=HELLO).message.content
    assert [piece.done for piece in ollama.generate(model="llama3.2", prompt="Hello", stream=True)][-1]
    assert ollama.embed(model="nomic-embed-text", input="Hello").embeddings
    assert {model.model for model in ollama.list().models} >= {"llama3.2:latest"}
    with pytest.raises(ResponseError) as caught:
        ollama.chat(model="none", messages=HELLO)
    assert caught.value.status_code == 404


def test_clients_of_one_node(fleet):
    with Client(host=fleet.urls[1]) as client:
        assert client.nodes == [fleet.nodes[1]]
        assert client.chat("llama3.2", HELLO).done
        assert client.copy("llama3.2", "copied").status == "success"
        assert client.show("copied").details
        assert client.delete("copied").status == "success"
        with pytest.raises(ResponseError):
            client.show("copied")
        assert [piece.status for piece in client.pull("llama3.2", stream=True)][-1] == "success"

    async def main():
        async with AsyncClient(host=fleet.urls[1]) as client:
            assert (await client.chat("llama3.2", HELLO)).done
            assert (await client.embeddings("nomic-embed-text", "Hello")).embedding
            assert (await client.copy("llama3.2", "copied")).status == "success"
            assert (await client.delete("copied")).status == "success"
            assert (await client.pull("llama3.2")).status == "success"

    asyncio.run(main())
