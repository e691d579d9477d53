"""curl, and a reader with the Go client's rules: every line a JSON object, none blank."""

import hashlib
import http.client
import json
import subprocess
import urllib.parse
from dataclasses import dataclass

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
    TIMEOUT_S,
    URL,
    WEATHER_QUESTION,
    WEATHER_TOOL,
)

LINE_BYTES_MAX = 8 * 1024 * 1024  # what the Go client's line buffer holds


@dataclass(frozen=True)
class Reply:
    """An HTTP answer as curl saw it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> dict:
        assert self.headers["content-type"].startswith("application/json")
        return json.loads(self.body)

    def lines(self) -> list[dict]:
        assert self.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in self.body.removesuffix("\n").split("\n")]


def curl(path: str, *arguments: str, json_body: object = None, stdin: bytes | None = None) -> Reply:
    """Runs curl once. Fails when curl itself fails, a truncated body included."""
    body = () if json_body is None else ("--data-binary", json.dumps(json_body))
    run = subprocess.run(
        [
            "curl",
            "-sS",
            "-N",
            "-i",
            "--path-as-is",
            "--max-time",
            str(TIMEOUT_S),
            *body,
            *arguments,
            URL + path,
        ],
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    return parse(run.stdout)


def parse(output: bytes) -> Reply:
    head, _, rest = output.partition(b"\r\n\r\n")
    while head.split(b" ")[1] == b"100":
        head, _, rest = rest.partition(b"\r\n\r\n")
    status_line, *fields = head.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
    }
    return Reply(int(status_line.split(" ")[1]), headers, rest.decode())


# Fixed answers


@pytest.mark.parametrize("head", [(), ("-I",)], ids=["get", "head"])
def test_the_root_says_what_runs(head):
    reply = curl("/", *head)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.body == ("" if head else "Ollama is running")


def test_version():
    assert curl("/api/version").json()["version"].count(".") >= 2


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/api/nothing", 404, "404 page not found"),
        ("GET", "/v1/models/me/chat", 404, "404 page not found"),
        ("GET", "/api/generate", 405, "405 method not allowed"),
        ("POST", "/api/tags", 405, "405 method not allowed"),
    ],
)
def test_unknown_paths_and_methods(method, path, status, text):
    reply = curl(path, "-X", method)
    assert (reply.status, reply.body.strip()) == (status, text)
    assert reply.headers["content-type"].startswith("text/plain")


# Listing and showing


def test_tags():
    models = curl("/api/tags").json()["models"]
    assert FLEET <= {model["name"] for model in models}
    assert all(model["name"] == model["model"] for model in models)


def test_ps():
    assert isinstance(curl("/api/ps").json()["models"], list)


@pytest.mark.parametrize("key", ["model", "name"])
def test_show_takes_the_old_key_too(key):
    assert "completion" in curl("/api/show", json_body={key: CHAT}).json()["capabilities"]


def test_openai_models():
    listed = curl("/v1/models").json()
    assert listed["object"] == "list"
    assert FLEET <= {model["id"] for model in listed["data"]}


# Generating, chatting, embedding


def test_generate_streams_by_default():
    lines = curl(
        "/api/generate",
        json_body={"model": CHAT, "prompt": "Cheese", "options": {"num_predict": 6}},
    ).lines()
    assert len(lines) > 2
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all(line["model"] == CHAT and line["created_at"].endswith("Z") for line in lines)
    assert lines[-1]["eval_duration"] > 0


def test_generate_whole():
    body = {"model": CHAT, "prompt": "Cheese", "stream": False, "options": {"num_predict": 6}}
    answer = curl("/api/generate", json_body=body).json()
    assert answer["done"] is True
    assert answer["response"]


def test_chat_with_tools():
    messages = [{"role": "user", "content": WEATHER_QUESTION}]
    lines = curl(
        "/api/chat", json_body={"model": CHAT, "messages": messages, "tools": [WEATHER_TOOL]}
    ).lines()
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "get_weather"
    assert isinstance(calls[0]["function"]["arguments"], dict)
    assert lines[-1]["done"] is True


def test_an_openai_stream_ends_with_done():
    messages = [{"role": "user", "content": "Cheese"}]
    body = {"model": CHAT, "messages": messages, "max_tokens": 4, "stream": True}
    reply = curl("/v1/chat/completions", json_body=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.body.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(event.removeprefix("data: "))["choices"] for event in events[:-1])


def test_embed():
    answer = curl("/api/embed", json_body={"model": EMBED, "input": ["one", "two"]}).json()
    assert len(answer["embeddings"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("-H", "Expect: 100-continue"),
        ("-H", "Transfer-Encoding: chunked"),
        ("--http1.0",),
        ("-H", "Connection: close"),
        ("-H", "Content-Type: text/plain"),
        ("-H", "Authorization: Bearer any"),
    ],
    ids=["expect", "chunked", "http1.0", "close", "other_type", "bearer"],
)
def test_a_request_may_be_framed_and_labelled_in_any_way(arguments):
    body = {"model": CHAT, "prompt": "Cheese", "stream": False, "options": {"num_predict": 2}}
    assert curl("/api/generate", *arguments, json_body=body).json()["done"] is True


def test_a_long_prompt_arrives_whole():
    body = {
        "model": CHAT,
        "prompt": "cheese " * 200_000,
        "stream": False,
        "options": {"num_predict": 2},
    }
    reply = curl("/api/generate", "--data-binary", "@-", stdin=json.dumps(body).encode())
    assert reply.json()["prompt_eval_count"] > 1000


def test_one_connection_serves_many_requests():
    run = subprocess.run(
        [
            "curl",
            "-sS",
            "--max-time",
            str(TIMEOUT_S),
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{num_connects}\n",
            URL + "/api/tags",
            "-o",
            "/dev/null",
            URL + "/api/version",
            "-o",
            "/dev/null",
            URL + "/v1/models",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stdout.split("\n")[:-1] == ["200 1", "200 0", "200 0"]


# Managing models


def test_pull_and_delete():
    name = "tiny-curl:1b"
    lines = curl("/api/pull", json_body={"model": name}).lines()
    assert lines[0]["status"] == "pulling manifest"
    assert lines[-1]["status"] == "success"
    assert name in {model["name"] for model in curl("/api/tags").json()["models"]}
    deleted = curl("/api/delete", "-X", "DELETE", json_body={"model": name})
    assert (deleted.status, deleted.body) == (200, "")
    assert name not in {model["name"] for model in curl("/api/tags").json()["models"]}


@pytest.mark.parametrize(
    "arguments", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"]
)
def test_a_blob_goes_up_and_is_found(arguments):
    blob = bytes(range(256)) * 4096 + repr(arguments).encode()
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    uploaded = curl(f"/api/blobs/{digest}", "--data-binary", "@-", *arguments, stdin=blob)
    assert uploaded.status in (200, 201)
    assert curl(f"/api/blobs/{digest}", "-I").status == 200


def test_blobs_are_checked():
    digest = "sha256:" + "0" * 64
    assert curl(f"/api/blobs/{digest}", "-I").status == 404
    refused = curl(f"/api/blobs/{digest}", "--data-binary", "abc")
    assert refused.status == 400
    assert "digest mismatch" in refused.json()["error"]
    malformed = curl("/api/blobs/sha256:abc", "--data-binary", "abc")
    assert (malformed.status, malformed.json()["error"]) == (400, "invalid digest format")


# Errors


@pytest.mark.parametrize(
    ("path", "arguments", "status", "text"),
    [
        ("/api/generate", ("-X", "POST"), 400, "missing request body"),
        (
            "/api/generate",
            ("-d", f'{{"model":"{ABSENT}","prompt":"x"}}'),
            404,
            f"model '{ABSENT}' not found",
        ),
        ("/api/chat", ("-d", '{"messages":[]}'), 400, "model is required"),
        ("/api/show", ("-d", f'{{"model":"{ABSENT}"}}'), 404, f"model '{ABSENT}:latest' not found"),
        (
            "/api/embed",
            ("-d", f'{{"model":"{ABSENT}","input":"x"}}'),
            404,
            f'model "{ABSENT}" not found, try pulling it first',
        ),
        (
            "/api/delete",
            ("-X", "DELETE", "-d", f'{{"model":"{ABSENT}"}}'),
            404,
            f"model '{ABSENT}' not found",
        ),
    ],
    ids=["no_body", "generate", "chat", "show", "embed", "delete"],
)
def test_errors_keep_the_native_form(path, arguments, status, text):
    reply = curl(path, *arguments)
    assert (reply.status, reply.json()) == (status, {"error": text})


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/api/embed", "/api/show"])
def test_bad_json_is_a_bad_request(path):
    reply = curl(path, "-d", '{"model":')
    assert reply.status == 400
    assert reply.json()["error"]


def test_bad_json_is_a_bad_request_in_openai_form():
    reply = curl("/v1/chat/completions", "-d", '{"model":')
    assert reply.status == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_bad_json_is_a_bad_request_in_anthropic_form():
    reply = curl("/v1/messages", "-d", '{"model":')
    assert reply.status == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_failed_pull_is_a_line_of_its_stream():
    lines = curl("/api/pull", json_body={"model": ABSENT}).lines()
    assert lines[0]["status"] == "pulling manifest"
    assert "file does not exist" in lines[-1]["error"]


# The Go client's line reader


class Lines:
    """Reads a streamed answer as the Go client does, and may hang up in the middle."""

    def __init__(self, path: str, body: dict, url: str = URL) -> None:
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        headers = {
            "Accept": "application/x-ndjson",
            "Content-Type": "application/json",
            "User-Agent": "ollama/0.33.0 (amd64 linux) Go/go1.24",
        }
        self.connection.request("POST", path, json.dumps(body), headers)
        self.reply = self.connection.getresponse()

    def __iter__(self):
        return self

    def __next__(self) -> dict:
        line = self.reply.readline(LINE_BYTES_MAX)
        if not line:
            raise StopIteration
        assert line.endswith(b"\n"), "a line is cut off or too long"
        assert line.strip(), "a blank line"
        return json.loads(line)

    def close(self) -> None:
        self.reply.close()
        self.connection.close()


def test_lines_of_a_chat():
    messages = [{"role": "user", "content": "Cheese"}]
    lines = Lines("/api/chat", {"model": CHAT, "messages": messages, "options": {"num_predict": 8}})
    assert lines.reply.getheader("Content-Type") == "application/x-ndjson"
    assert [line["done"] for line in lines][-2:] == [False, True]


def test_lines_of_an_answer_that_breaks_off_end_with_an_error():
    lines = list(Lines("/api/generate", {"model": BROKEN, "prompt": "Cheese"}, BROKEN_URL))
    assert lines[0]["done"] is False
    assert lines[-1]["error"]
    assert not any(line.get("done") for line in lines)


def test_hanging_up_frees_the_place():
    for _ in range(6):
        lines = Lines(
            "/api/generate",
            {"model": CHAT, "prompt": "Cheese", "options": {"num_predict": ENDLESS}},
        )
        assert next(lines)["done"] is False
        lines.close()
    body = {"model": CHAT, "prompt": "Cheese", "stream": False, "options": {"num_predict": 2}}
    assert curl("/api/generate", json_body=body).json()["done"] is True


# The gateway's own headers


@pytest.mark.skipif(not GATEWAY, reason="a header of the gateway's")
def test_an_answer_names_its_node():
    body = {"model": CHAT, "prompt": "Cheese", "stream": False, "options": {"num_predict": 2}}
    assert curl("/api/generate", json_body=body).headers["x-sollol-node"]


@pytest.mark.skipif(not GATEWAY, reason="the gateway does CORS itself")
def test_an_origin_is_answered_by_the_gateway():
    reply = curl("/api/tags", "-H", "Origin: http://localhost:3000")
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] in ("*", "http://localhost:3000")
