"""The OpenAI Python SDK, synchronous and asynchronous."""

import asyncio
import base64
import json
import math

import openai
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
    V1,
    WEATHER_QUESTION,
    WEATHER_TOOL,
    png_base64,
    wav,
)

CHEESE = [{"role": "user", "content": "Write about cheese."}]
RESPONSES_TOOL = {"type": "function", **WEATHER_TOOL["function"], "strict": False}


def settings(base_url: str = V1) -> dict:
    return {"base_url": base_url, "api_key": "any", "max_retries": 0, "timeout": TIMEOUT_S}


@pytest.fixture
def client() -> openai.OpenAI:
    return openai.OpenAI(**settings())


# Models


def test_models_list(client):
    models = {model.id: model for model in client.models.list()}
    assert FLEET <= set(models)
    assert models["llama3.2:latest"].object == "model"
    assert models["llama3.2:latest"].owned_by == "library"
    assert models["llama3.2:latest"].created > 0


def test_models_retrieve(client):
    model = client.models.retrieve("llama3.2")
    assert (model.object, model.owned_by) == ("model", "library")
    assert model.id in ("llama3.2", "llama3.2:latest")


# Chat completions


def test_chat(client):
    reply = client.chat.completions.create(model=CHAT, messages=CHEESE, max_tokens=8)
    assert reply.object == "chat.completion"
    assert reply.model == CHAT
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert 0 < reply.usage.completion_tokens <= 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_chat_streams_what_it_would_answer_whole(client):
    ask = {"model": CHAT, "messages": CHEESE, "max_tokens": 16, "seed": 5}
    whole = client.chat.completions.create(**ask)
    chunks = list(
        client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    with_choices = [chunk for chunk in chunks if chunk.choices]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in with_choices)
    assert text == whole.choices[0].message.content
    finishes = [
        chunk.choices[0].finish_reason for chunk in with_choices if chunk.choices[0].finish_reason
    ]
    assert finishes == [whole.choices[0].finish_reason]
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_chat_names_the_model_as_it_was_asked(client):
    reply = client.chat.completions.create(model=CASED.upper(), messages=CHEESE, max_tokens=2)
    assert reply.model == CASED.upper()


def test_chat_calls_a_tool_and_takes_its_result(client):
    messages = [{"role": "user", "content": WEATHER_QUESTION}]
    reply = client.chat.completions.create(model=CHAT, messages=messages, tools=[WEATHER_TOOL])
    assert reply.choices[0].finish_reason == "tool_calls"
    call = reply.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)

    messages.append(reply.choices[0].message)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "14 degrees, rain"})
    answer = client.chat.completions.create(model=CHAT, messages=messages, tools=[WEATHER_TOOL])
    assert answer.choices[0].message.content


def test_chat_streams_a_tool_call(client):
    messages = [{"role": "user", "content": WEATHER_QUESTION}]
    stream = client.chat.completions.create(
        model=CHAT, messages=messages, tools=[WEATHER_TOOL], stream=True
    )
    choices = [chunk.choices[0] for chunk in stream if chunk.choices]
    calls = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert [call.function.name for call in calls] == ["get_weather"]
    assert isinstance(json.loads(calls[0].function.arguments)["city"], str)
    assert choices[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER_SCHEMA}},
    ],
    ids=["object", "schema"],
)
def test_chat_in_json(client, form):
    reply = client.chat.completions.create(model=CHAT, messages=CHEESE, response_format=form)
    value = json.loads(reply.choices[0].message.content)
    if form["type"] == "json_schema":
        assert isinstance(value["answer"], str)
        assert isinstance(value["score"], int)


def test_chat_reasons_when_the_model_can(client):
    reply = client.chat.completions.create(model=THINK, messages=CHEESE, reasoning_effort="medium")
    assert reply.choices[0].message.reasoning
    silent = client.chat.completions.create(model=THINK, messages=CHEESE, reasoning_effort="none")
    assert not getattr(silent.choices[0].message, "reasoning", None)


def image_question(url: str) -> list:
    text = {"type": "text", "text": "What is this?"}
    return [{"role": "user", "content": [text, {"type": "image_url", "image_url": {"url": url}}]}]


def test_chat_takes_an_image(client):
    messages = image_question("data:image/png;base64," + png_base64())
    reply = client.chat.completions.create(model=MEDIA, messages=messages, max_tokens=4)
    assert reply.choices[0].message.content


def test_an_image_by_address_is_a_bad_request(client):
    messages = image_question("http://127.0.0.1/cat.png")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MEDIA, messages=messages)


# Completions, responses, embeddings, transcriptions


def test_completions(client):
    ask = {"model": CHAT, "prompt": "Cheese is", "max_tokens": 12, "seed": 5}
    whole = client.completions.create(**ask)
    assert whole.object == "text_completion"
    assert whole.choices[0].text
    chunks = list(client.completions.create(**ask, stream=True))
    assert (
        "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    )
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_responses(client):
    reply = client.responses.create(model=CHAT, input="Write about cheese.", max_output_tokens=8)
    assert reply.object == "response"
    assert reply.status in ("completed", "incomplete")
    assert reply.output_text
    assert reply.usage.output_tokens > 0


def test_responses_stream(client):
    events = list(client.responses.create(model=CHAT, input="Write about cheese.", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text
    assert text == events[-1].response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_responses_call_a_tool(client):
    reply = client.responses.create(model=CHAT, input=WEATHER_QUESTION, tools=[RESPONSES_TOOL])
    calls = [item for item in reply.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["get_weather"]
    assert isinstance(json.loads(calls[0].arguments)["city"], str)


def test_embeddings_are_the_same_as_floats_and_as_base64(client):
    floats = client.embeddings.create(model=EMBED, input=["one", "two"], encoding_format="float")
    packed = client.embeddings.create(
        model=EMBED, input=["one", "two"]
    )  # base64, which the SDK unpacks
    assert [item.index for item in floats.data] == [0, 1]
    assert math.isclose(sum(x * x for x in floats.data[0].embedding), 1.0, abs_tol=1e-3)
    for left, right in zip(floats.data, packed.data, strict=True):
        assert right.embedding == pytest.approx(left.embedding, abs=1e-6)
    assert floats.usage.prompt_tokens > 0


def test_embeddings_as_raw_base64(client):
    reply = client.embeddings.create(
        model=EMBED, input="one", encoding_format="base64", dimensions=64
    )
    assert isinstance(reply.data[0].embedding, str)
    assert len(base64.b64decode(reply.data[0].embedding)) == 64 * 4


def test_transcription(client):
    reply = client.audio.transcriptions.create(model=MEDIA, file=("speech.wav", wav(), "audio/wav"))
    assert reply.text


def test_transcription_as_text(client):
    file = ("speech.wav", wav(), "audio/wav")
    reply = client.audio.transcriptions.create(
        model=MEDIA, file=file, response_format="text", language="en"
    )
    assert isinstance(reply, str)
    assert reply.strip()


# Errors


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.chat.completions.create(model=ABSENT, messages=CHEESE),
        lambda c: c.chat.completions.create(model=ABSENT, messages=CHEESE, stream=True),
        lambda c: c.completions.create(model=ABSENT, prompt="x"),
        lambda c: c.embeddings.create(model=ABSENT, input="x"),
        lambda c: c.responses.create(model=ABSENT, input="x"),
        lambda c: c.models.retrieve(ABSENT),
        lambda c: c.audio.transcriptions.create(model=ABSENT, file=("speech.wav", wav())),
    ],
    ids=["chat", "stream", "completions", "embeddings", "responses", "retrieve", "transcriptions"],
)
def test_an_unknown_model_is_not_found(client, call):
    with pytest.raises(openai.NotFoundError) as caught:
        call(client)
    assert caught.value.type == "not_found_error"
    assert ABSENT in caught.value.message


def test_a_bad_request_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=EMBED, messages=CHEESE)
    assert caught.value.type == "invalid_request_error"
    assert "does not support chat" in caught.value.message


def test_no_messages_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=CHAT, messages=[])


def test_an_answer_that_breaks_off_does_not_look_complete():
    client = openai.OpenAI(**settings(BROKEN_URL + "/v1"))
    chunks = []

    def read() -> None:
        for chunk in client.chat.completions.create(model=BROKEN, messages=CHEESE, stream=True):
            chunks.append(chunk)

    if GATEWAY:  # a node alone says nothing of the failure
        with pytest.raises(openai.APIError):
            read()
    else:
        read()
    assert chunks
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)


@pytest.mark.skipif(not GATEWAY, reason="a node alone does not survive itself")
def test_a_stream_outlives_its_node(client):
    ask = {"model": SURVIVES, "messages": CHEESE, "temperature": 0}
    chunks = list(
        client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    words = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert len({chunk.id for chunk in chunks}) == 1
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    usage = chunks[-1].usage
    assert usage.completion_tokens == sum(1 for word in words if word) > 3
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    again = client.chat.completions.create(**ask).choices[0].message.content
    assert "".join(words) == again


@pytest.mark.skipif(not GATEWAY, reason="a node sends no heartbeats")
def test_streams_that_wait_get_heartbeats(client):
    ask = {"model": LATE, "messages": CHEESE, "seed": 5}
    with client.chat.completions.stream(**ask) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        final = stream.get_final_completion()
    assert chunks[0].choices[0].delta.content
    assert final.choices[0].message.content
    assert final.choices[0].message.content == (
        client.chat.completions.create(**ask).choices[0].message.content
    )
    pieces = client.completions.create(model=LATE, prompt="cheese", max_tokens=8, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices)
    with client.responses.stream(model=LATE, input="Write about cheese.") as events:
        types = [event.type for event in events]
    assert types[0] == "response.created"
    assert types[-1] == "response.completed"


# Leaving early, and many at once


def test_abandoned_streams_free_their_places(client):
    for _ in range(6):
        with client.chat.completions.create(
            model=CHAT, messages=CHEESE, max_tokens=ENDLESS, stream=True
        ) as stream:
            assert next(iter(stream)).choices
    assert client.chat.completions.create(model=CHAT, messages=CHEESE, max_tokens=2).choices


def test_twenty_at_once_get_their_own_answers():
    async def body() -> None:
        client = openai.AsyncOpenAI(**settings())

        async def ask(number: int) -> str:
            messages = [{"role": "user", "content": f"Number {number}"}]
            reply = await client.chat.completions.create(
                model=CHAT, messages=messages, max_tokens=8, seed=number
            )
            return reply.choices[0].message.content

        together = await asyncio.gather(*(ask(number) for number in range(20)))
        assert together == [await ask(number) for number in range(20)]
        assert len(set(together)) > 1

    asyncio.run(body())


@pytest.mark.skipif(not GATEWAY, reason="a header of the gateway's")
def test_the_answer_names_its_node(client):
    raw = client.chat.completions.with_raw_response.create(
        model=CHAT, messages=CHEESE, max_tokens=2
    )
    assert raw.headers["x-sollol-node"]
