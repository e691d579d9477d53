"""The official Ollama Python client, synchronous and asynchronous."""

import asyncio
import hashlib
import json
import math

import ollama
import pytest
from common import (
    ABSENT,
    ANSWER_SCHEMA,
    BROKEN,
    BROKEN_URL,
    CASED,
    CHAT,
    EMBED,
    ENDLESS,
    FLEET,
    GATEWAY,
    LATE,
    MEDIA,
    SURVIVES,
    THINK,
    TIMEOUT_S,
    URL,
    WEATHER_QUESTION,
    WEATHER_TOOL,
    eventually,
    png,
)

CHEESE = "Write about cheese."


@pytest.fixture
def client() -> ollama.Client:
    return ollama.Client(host=URL, timeout=TIMEOUT_S)


def asynchronously(body) -> None:
    """Runs `body(client)` with a fresh asynchronous client."""

    async def run() -> None:
        await body(ollama.AsyncClient(host=URL, timeout=TIMEOUT_S))

    asyncio.run(run())


def listed(client: ollama.Client) -> set[str]:
    return {model.model for model in client.list().models}


def running(client: ollama.Client) -> dict[str, ollama.ProcessResponse.Model]:
    return {model.model: model for model in client.ps().models}


# Listing and showing


def test_list_is_the_union_of_the_fleet(client):
    reply = client.list()
    names = [model.model for model in reply.models]
    assert FLEET <= set(names)
    assert len(names) == len(set(names))
    chat = next(model for model in reply.models if model.model == "llama3.2:latest")
    assert len(chat.digest) == 64
    assert chat.size > 0
    assert chat.details.format == "gguf"


def test_show_describes_a_model(client):
    shown = client.show(CHAT)
    assert {"completion", "tools"} <= set(shown.capabilities)
    assert shown.modelinfo["general.architecture"]
    assert shown.details.quantization_level


def test_show_names_a_thinking_and_an_embedding_model(client):
    assert "thinking" in client.show(THINK).capabilities
    assert "embedding" in client.show(EMBED).capabilities


def test_ps_lists_a_model_once_it_has_answered(client):
    client.generate(CHAT, CHEESE, options={"num_predict": 2})
    eventually(lambda: "llama3.2:latest" in running(client))
    chat = running(client)["llama3.2:latest"]
    assert chat.context_length > 0
    assert chat.size >= chat.size_vram


# Generating


def test_generate(client):
    reply = client.generate(CHAT, CHEESE, options={"num_predict": 12})
    assert reply.model == CHAT
    assert reply.done
    assert reply.response
    assert reply.done_reason in ("stop", "length")
    assert 0 < reply.eval_count <= 12
    assert reply.prompt_eval_count > 0
    assert reply.total_duration > 0
    assert reply.context


def test_generate_streams_what_it_would_answer_whole(client):
    options = {"num_predict": 16, "seed": 7}
    whole = client.generate(CHAT, CHEESE, options=options)
    parts = list(client.generate(CHAT, CHEESE, options=options, stream=True))
    assert len(parts) > 2
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(part.response for part in parts) == whole.response
    assert parts[-1].eval_count == whole.eval_count
    assert parts[-1].done_reason == whole.done_reason


def test_generate_honours_num_predict(client):
    reply = client.generate(CHAT, CHEESE, options={"num_predict": 3})
    assert reply.eval_count <= 3
    assert reply.done_reason in ("stop", "length")


def test_generate_stops_at_a_stop_string(client):
    options = {"num_predict": 24, "seed": 3}
    free = client.generate(CHAT, CHEESE, options=options).response
    stop = free[len(free) // 2 :][:3]
    stopped = client.generate(CHAT, CHEESE, options={**options, "stop": [stop]})
    assert stopped.response.strip() == free[: free.index(stop)].strip()
    assert stopped.done_reason == "stop"


def test_generate_raw_leaves_the_context_out(client):
    assert not client.generate(CHAT, CHEESE, raw=True, options={"num_predict": 2}).context


@pytest.mark.parametrize("form", ["json", ANSWER_SCHEMA], ids=["json", "schema"])
def test_generate_in_json(client, form):
    reply = client.generate(CHAT, "Answer in JSON.", format=form)
    value = json.loads(reply.response)
    if form != "json":
        assert isinstance(value["answer"], str)
        assert isinstance(value["score"], int)


def test_generate_takes_an_image(client):
    reply = client.generate(MEDIA, "What is this?", images=[png()], options={"num_predict": 4})
    assert reply.done
    assert reply.response


def test_embedding_model_does_not_generate(client):
    with pytest.raises(ollama.ResponseError, match="does not support generate") as caught:
        client.generate(EMBED, CHEESE)
    assert caught.value.status_code == 400


# Names


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2",
        "llama3.2:latest",
        "LLAMA3.2",
        "library/Llama3.2:LATEST",
        "registry.ollama.ai/library/llama3.2:latest",
        CASED,
        CASED.lower(),
    ],
)
def test_a_name_is_found_in_any_spelling_and_echoed_as_sent(client, name):
    reply = client.generate(name, CHEESE, options={"num_predict": 2})
    assert reply.model == name


# Loading and unloading


def test_an_empty_prompt_loads(client):
    reply = client.generate(CHAT, keep_alive="5m")
    assert (reply.done, reply.done_reason, reply.response) == (True, "load", "")


def test_an_empty_chat_loads(client):
    reply = client.chat(CHAT, messages=[], keep_alive=300)
    assert (reply.done, reply.done_reason, reply.message.content) == (True, "load", "")


def test_keep_alive_zero_unloads(client):
    client.generate(MEDIA)
    eventually(lambda: MEDIA in running(client))
    reply = client.generate(MEDIA, keep_alive=0)
    assert (reply.done, reply.done_reason) == (True, "unload")
    eventually(lambda: MEDIA not in running(client))


def test_keep_alive_needs_a_unit(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(CHAT, CHEESE, keep_alive="10")
    assert caught.value.status_code == 400


# Chatting


def test_chat(client):
    reply = client.chat(
        CHAT, messages=[{"role": "user", "content": CHEESE}], options={"num_predict": 8}
    )
    assert reply.message.role == "assistant"
    assert reply.message.content
    assert reply.done


def test_chat_streams_what_it_would_answer_whole(client):
    ask = {
        "messages": [{"role": "user", "content": CHEESE}],
        "options": {"num_predict": 16, "seed": 5},
    }
    whole = client.chat(CHAT, **ask)
    parts = list(client.chat(CHAT, **ask, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert parts[-1].done
    assert parts[-1].eval_count == whole.eval_count


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_chat_calls_a_tool_and_takes_its_result(client, stream):
    messages = [{"role": "user", "content": WEATHER_QUESTION}]
    reply = client.chat(CHAT, messages=messages, tools=[WEATHER_TOOL], stream=stream)
    parts = list(reply) if stream else [reply]
    assert parts[-1].done
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert [call.function.name for call in calls] == ["get_weather"]
    assert isinstance(calls[0].function.arguments["city"], str)

    messages.append({"role": "assistant", "tool_calls": [calls[0].model_dump()]})
    messages.append({"role": "tool", "tool_name": "get_weather", "content": "14 degrees, rain"})
    answer = client.chat(CHAT, messages=messages, tools=[WEATHER_TOOL])
    assert answer.message.content
    assert not answer.message.tool_calls


def test_chat_takes_a_python_function_as_a_tool(client):
    def get_weather(city: str) -> str:
        """The weather in a city

        Args:
          city: its name
        """
        return city

    reply = client.chat(
        CHAT, messages=[{"role": "user", "content": WEATHER_QUESTION}], tools=[get_weather]
    )
    assert reply.message.tool_calls[0].function.name == "get_weather"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_chat_thinks_when_the_model_can(client, stream):
    reply = client.chat(
        THINK, messages=[{"role": "user", "content": CHEESE}], think=True, stream=stream
    )
    parts = list(reply) if stream else [reply]
    assert "".join(part.message.thinking or "" for part in parts)
    assert "".join(part.message.content or "" for part in parts)


def test_chat_does_not_think_when_told_so(client):
    reply = client.chat(THINK, messages=[{"role": "user", "content": CHEESE}], think=False)
    assert not reply.message.thinking
    assert reply.message.content


def test_chat_refuses_to_think_without_the_capability(client):
    with pytest.raises(ollama.ResponseError, match="does not support thinking") as caught:
        client.chat(CHAT, messages=[{"role": "user", "content": CHEESE}], think=True)
    assert caught.value.status_code == 400


def test_chat_takes_an_image(client):
    message = {"role": "user", "content": "What is this?", "images": [png()]}
    assert client.chat(MEDIA, messages=[message], options={"num_predict": 4}).message.content


# Embedding


def test_embed_returns_unit_vectors_in_order(client):
    both = client.embed(EMBED, ["one", "two"]).embeddings
    assert len(both) == 2
    for vector, text in zip(both, ["one", "two"], strict=True):
        assert math.isclose(sum(x * x for x in vector), 1.0, abs_tol=1e-3)
        assert vector == pytest.approx(client.embed(EMBED, text).embeddings[0])
    assert both[0] != pytest.approx(both[1])


def test_embed_shortens_to_the_dimensions_asked(client):
    vector = client.embed(EMBED, "one", dimensions=64).embeddings[0]
    assert len(vector) == 64
    assert math.isclose(sum(x * x for x in vector), 1.0, abs_tol=1e-3)


def test_embed_of_nothing_is_empty(client):
    assert client.embed(EMBED, []).embeddings == []


def test_embeddings_the_old_route(client):
    assert len(client.embeddings(EMBED, "one").embedding) == len(
        client.embed(EMBED, "one").embeddings[0]
    )


# Managing models


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_pull_show_copy_delete(client, stream):
    name = f"tiny-python-{'streamed' if stream else 'whole'}:1b"
    copy = name.replace(":", "-copy:")
    progress = client.pull(name, stream=stream)
    steps = list(progress) if stream else [progress]
    assert steps[-1].status == "success"
    if stream:
        assert steps[0].status == "pulling manifest"
        assert any(step.total and step.digest for step in steps)
    assert name in listed(client)
    assert client.show(name).details
    assert client.copy(name, copy).status == "success"
    assert copy in listed(client)
    assert client.generate(copy, CHEESE, options={"num_predict": 2}).response
    for victim in (name, copy):
        assert client.delete(victim).status == "success"
    assert not {name, copy} & listed(client)
    with pytest.raises(ollama.ResponseError) as caught:
        client.show(name)
    assert caught.value.status_code == 404


def test_create_from_a_model(client):
    steps = list(client.create("cheese-python", from_=CHAT, system="You know cheese.", stream=True))
    assert steps[-1].status == "success"
    assert "cheese-python:latest" in listed(client)
    assert client.generate("cheese-python", CHEESE, options={"num_predict": 2}).response
    assert client.delete("cheese-python").status == "success"


def test_create_from_nothing_is_a_bad_request(client):
    with pytest.raises(ollama.ResponseError, match="neither 'from' or 'files'") as caught:
        client.create("nothing-python")
    assert caught.value.status_code == 400


def test_a_blob_is_uploaded(client, tmp_path):
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF" + bytes(range(256)) * 4096)
    digest = client.create_blob(file)
    assert digest == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


# Errors


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda c: c.generate(ABSENT, CHEESE), f"model '{ABSENT}' not found"),
        (lambda c: list(c.generate(ABSENT, CHEESE, stream=True)), f"model '{ABSENT}' not found"),
        (
            lambda c: c.chat(ABSENT, messages=[{"role": "user", "content": "x"}]),
            f"model '{ABSENT}' not found",
        ),
        (lambda c: c.embed(ABSENT, "x"), f'model "{ABSENT}" not found, try pulling it first'),
        (lambda c: c.embeddings(ABSENT, "x"), f'model "{ABSENT}" not found, try pulling it first'),
        (lambda c: c.show(ABSENT), f"model '{ABSENT}:latest' not found"),
        (lambda c: c.delete(ABSENT), f"model '{ABSENT}' not found"),
        (lambda c: c.copy(ABSENT, "anything"), f'model "{ABSENT}" not found'),
    ],
    ids=["generate", "stream", "chat", "embed", "embeddings", "show", "delete", "copy"],
)
def test_an_unknown_model_is_404(client, call, text):
    with pytest.raises(ollama.ResponseError) as caught:
        call(client)
    assert caught.value.status_code == 404
    assert caught.value.error == text


def test_contradicting_fields_are_a_bad_request(client):
    with pytest.raises(ollama.ResponseError, match="raw mode does not support") as caught:
        client.generate(CHAT, CHEESE, raw=True, system="Be brief.")
    assert caught.value.status_code == 400


def test_a_pull_that_fails_says_so_in_its_stream(client):
    statuses = []
    with pytest.raises(ollama.ResponseError, match="file does not exist") as caught:
        for step in client.pull(ABSENT, stream=True):
            statuses.append(step.status)
    assert statuses[0] == "pulling manifest"
    assert "success" not in statuses
    assert caught.value.status_code == -1


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.generate(BROKEN, CHEESE, stream=True),
        lambda c: c.chat(BROKEN, messages=[{"role": "user", "content": CHEESE}], stream=True),
    ],
    ids=["generate", "chat"],
)
def test_an_answer_that_breaks_off_is_an_error(call):
    client = ollama.Client(host=BROKEN_URL, timeout=TIMEOUT_S)
    parts = []
    with pytest.raises(ollama.ResponseError) as caught:
        for part in call(client):
            parts.append(part)
    assert parts
    assert not any(part.done for part in parts)
    assert caught.value.error


@pytest.mark.skipif(not GATEWAY, reason="a node sends no heartbeats")
@pytest.mark.parametrize("api", ["generate", "chat"])
def test_a_stream_that_waits_gets_heartbeats(client, api):
    options = {"num_predict": 8, "seed": 5}
    if api == "generate":
        parts = list(client.generate(LATE, CHEESE, options=options, stream=True))
        whole = client.generate(LATE, CHEESE, options=options).response
    else:
        messages = [{"role": "user", "content": CHEESE}]
        parts = list(client.chat(LATE, messages=messages, options=options, stream=True))
        whole = client.chat(LATE, messages=messages, options=options).message.content
    words = [p.response if api == "generate" else p.message.content for p in parts]
    assert words[0] == ""  # the heartbeat
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(words) == whole


@pytest.mark.skipif(not GATEWAY, reason="a node alone does not survive itself")
@pytest.mark.parametrize("api", ["generate", "chat"])
def test_a_stream_outlives_its_node(client, api):
    # A raw prompt can be continued, one with a template cannot.
    options = {"temperature": 0}
    if api == "generate":
        parts = list(client.generate(SURVIVES, CHEESE, raw=True, options=options, stream=True))
    else:
        messages = [{"role": "user", "content": CHEESE}]
        parts = list(client.chat(SURVIVES, messages=messages, options=options, stream=True))
    words = [p.response if api == "generate" else p.message.content for p in parts]
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 4  # more than the first node has said
    assert parts[-1].eval_count == sum(1 for word in words if word)
    assert parts[-1].total_duration > 0
    again = (
        client.generate(SURVIVES, CHEESE, raw=True, options=options).response
        if api == "generate"
        else client.chat(SURVIVES, messages=messages, options=options).message.content
    )
    assert "".join(words) == again


# Leaving early, and many at once


def test_abandoned_streams_free_their_places(client):
    for _ in range(6):
        stream = client.generate(CHAT, CHEESE, options={"num_predict": ENDLESS}, stream=True)
        assert not next(stream).done
        stream.close()
    assert client.generate(CHAT, CHEESE, options={"num_predict": 2}).done


def test_async_list_show_embed():
    async def body(client: ollama.AsyncClient) -> None:
        assert FLEET <= {model.model for model in (await client.list()).models}
        assert (await client.show(CHAT)).capabilities
        assert len((await client.embed(EMBED, ["one", "two"])).embeddings) == 2

    asynchronously(body)


def test_async_chat_streams():
    async def body(client: ollama.AsyncClient) -> None:
        messages = [{"role": "user", "content": CHEESE}]
        stream = await client.chat(CHAT, messages=messages, options={"num_predict": 8}, stream=True)
        parts = [part async for part in stream]
        assert parts[-1].done
        assert "".join(part.message.content or "" for part in parts)

    asynchronously(body)


def test_async_unknown_model_is_404():
    async def body(client: ollama.AsyncClient) -> None:
        with pytest.raises(ollama.ResponseError) as caught:
            await client.generate(ABSENT, CHEESE)
        assert caught.value.status_code == 404

    asynchronously(body)


def test_cancelled_requests_free_their_places():
    async def body(client: ollama.AsyncClient) -> None:
        first_tokens = asyncio.Queue()

        async def endless() -> None:
            async for part in await client.generate(
                CHAT, CHEESE, stream=True, options={"num_predict": ENDLESS}
            ):
                await first_tokens.put(part)

        tasks = [asyncio.create_task(endless()) for _ in range(6)]
        await first_tokens.get()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await client.generate(CHAT, CHEESE, options={"num_predict": 2})).done

    asynchronously(body)


def test_twenty_at_once_get_their_own_answers():
    async def body(client: ollama.AsyncClient) -> None:
        async def ask(number: int) -> str:
            messages = [{"role": "user", "content": f"Number {number}"}]
            options = {"num_predict": 8, "seed": number}
            if number % 2:
                return (await client.chat(CHAT, messages=messages, options=options)).message.content
            stream = await client.chat(CHAT, messages=messages, options=options, stream=True)
            return "".join([part.message.content or "" async for part in stream])

        together = await asyncio.gather(*(ask(number) for number in range(20)))
        one_by_one = [await ask(number) for number in range(20)]
        assert together == one_by_one
        assert len(set(together)) > 1

    asynchronously(body)
