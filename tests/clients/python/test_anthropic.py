"""The Anthropic Python SDK, synchronous and asynchronous."""

import asyncio

import anthropic
import pytest
from common import (
    ABSENT,
    BROKEN,
    BROKEN_URL,
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
    WEATHER_PARAMETERS,
    WEATHER_QUESTION,
    png_base64,
)

CHEESE = [{"role": "user", "content": "Write about cheese."}]
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": WEATHER_PARAMETERS,
}


def settings(base_url: str = URL) -> dict:
    return {"base_url": base_url, "api_key": "any", "max_retries": 0, "timeout": TIMEOUT_S}


@pytest.fixture
def client() -> anthropic.Anthropic:
    return anthropic.Anthropic(**settings())


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_models_list(client):
    assert FLEET <= {model.id for model in client.models.list()}


def test_messages(client):
    message = client.messages.create(model=CHAT, max_tokens=8, messages=CHEESE, system="Be brief.")
    assert (message.type, message.role, message.model) == ("message", "assistant", CHAT)
    assert message.id.startswith("msg_")
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert text_of(message)
    assert message.usage.input_tokens > 0
    assert 0 < message.usage.output_tokens <= 8


def test_messages_stream(client):
    with client.messages.stream(model=CHAT, max_tokens=12, messages=CHEESE) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text
    assert text == text_of(final)
    assert final.stop_reason in ("end_turn", "max_tokens")
    assert final.usage.output_tokens > 0


def test_stream_events_come_in_order(client):
    stream = client.messages.create(model=CHAT, max_tokens=4, messages=CHEESE, stream=True)
    kinds = [event.type for event in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_messages_call_a_tool_and_take_its_result(client, stream):
    ask = {"model": CHAT, "max_tokens": 64, "tools": [TOOL]}
    messages = [{"role": "user", "content": WEATHER_QUESTION}]
    if stream:
        with client.messages.stream(**ask, messages=messages) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**ask, messages=messages)
    assert message.stop_reason == "tool_use"
    uses = [block for block in message.content if block.type == "tool_use"]
    assert [use.name for use in uses] == ["get_weather"]
    assert isinstance(uses[0].input["city"], str)

    result = {"type": "tool_result", "tool_use_id": uses[0].id, "content": "14 degrees, rain"}
    messages.append({"role": "assistant", "content": message.content})
    messages.append({"role": "user", "content": [result]})
    assert text_of(client.messages.create(**ask, messages=messages))


def test_messages_think_when_the_model_can(client):
    thinking = {"type": "enabled", "budget_tokens": 256}
    message = client.messages.create(
        model=THINK, max_tokens=512, messages=CHEESE, thinking=thinking
    )
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking


def test_thinking_is_waived_for_a_model_that_cannot(client):
    thinking = {"type": "enabled", "budget_tokens": 256}
    message = client.messages.create(model=CHAT, max_tokens=512, messages=CHEESE, thinking=thinking)
    assert [block.type for block in message.content] == ["text"]


def test_messages_take_an_image(client):
    source = {"type": "base64", "media_type": "image/png", "data": png_base64()}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    messages = [{"role": "user", "content": content}]
    assert text_of(client.messages.create(model=MEDIA, max_tokens=4, messages=messages))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_unknown_model_is_not_found(client, stream):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model=ABSENT, max_tokens=4, messages=CHEESE, stream=stream)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert ABSENT in caught.value.body["error"]["message"]


@pytest.mark.parametrize(
    "ask",
    [
        {"model": CHAT, "max_tokens": 0, "messages": CHEESE},
        {"model": CHAT, "max_tokens": 4, "messages": []},
        {"model": "", "max_tokens": 4, "messages": CHEESE},
        {"model": EMBED, "max_tokens": 4, "messages": CHEESE},
    ],
    ids=["no_max_tokens", "no_messages", "no_model", "embedding_model"],
)
def test_a_bad_request_is_refused(client, ask):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**ask)
    assert caught.value.body["error"]["type"] == "invalid_request_error"


def test_tokens_cannot_be_counted(client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model=CHAT, messages=CHEESE)


def test_an_answer_that_breaks_off_does_not_look_complete():
    client = anthropic.Anthropic(**settings(BROKEN_URL))
    kinds = []

    def read() -> None:
        for event in client.messages.create(
            model=BROKEN, max_tokens=64, messages=CHEESE, stream=True
        ):
            kinds.append(event.type)

    if GATEWAY:  # a node alone says nothing of the failure
        with pytest.raises(anthropic.APIError):
            read()
    else:
        read()
    assert "content_block_delta" in kinds
    assert "message_stop" not in kinds


@pytest.mark.skipif(not GATEWAY, reason="a node alone does not survive itself")
def test_a_stream_outlives_its_node(client):
    ask = {"model": SURVIVES, "max_tokens": 500, "messages": CHEESE}
    ask["extra_body"] = {"temperature": 0}  # `stream` has no parameter for it
    with client.messages.stream(**ask) as stream:
        words = list(stream.text_stream)
        message = stream.get_final_message()
    assert message.stop_reason == "end_turn"
    assert [block.text for block in message.content] == ["".join(words)]
    assert message.usage.output_tokens == len(words) > 3
    assert "".join(words) == client.messages.create(**ask).content[0].text


@pytest.mark.skipif(not GATEWAY, reason="a node sends no heartbeats")
def test_a_stream_that_waits_gets_heartbeats(client):
    ask = {"model": LATE, "max_tokens": 8, "messages": CHEESE}
    with client.messages.stream(**ask) as stream:
        types = [event.type for event in stream]
        message = stream.get_final_message()
    assert types[0] == "message_start"
    assert types.count("message_start") == 1
    assert types[-1] == "message_stop"
    assert message.content[0].text


def test_abandoned_streams_free_their_places(client):
    for _ in range(6):
        with client.messages.stream(model=CHAT, max_tokens=ENDLESS, messages=CHEESE) as stream:
            assert next(stream.text_stream)
    assert client.messages.create(model=CHAT, max_tokens=2, messages=CHEESE).content


def test_twenty_at_once_all_end():
    async def body() -> None:
        client = anthropic.AsyncAnthropic(**settings())

        async def ask(number: int) -> str:
            messages = [{"role": "user", "content": f"Number {number}"}]
            if number % 2:
                return text_of(
                    await client.messages.create(model=CHAT, max_tokens=8, messages=messages)
                )
            async with client.messages.stream(
                model=CHAT, max_tokens=8, messages=messages
            ) as stream:
                return "".join([text async for text in stream.text_stream])

        assert all(await asyncio.gather(*(ask(number) for number in range(20))))

    asyncio.run(body())


@pytest.mark.skipif(not GATEWAY, reason="a header of the gateway's")
def test_the_answer_names_its_node(client):
    raw = client.messages.with_raw_response.create(model=CHAT, max_tokens=2, messages=CHEESE)
    assert raw.headers["x-sollol-node"]
