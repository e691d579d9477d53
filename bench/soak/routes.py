"""What is asked of each route, and how a strict client judges the answer."""

import hashlib
import json
from dataclasses import dataclass, field

CHAT, EMBED, AUDIO = "llama3.2", "nomic-embed-text", "voxtral"
PROMPTS = 12  # few, so that answers can be compared


@dataclass
class Call:
    """One request: what it is, and what may come back."""

    operation: str  # as the gateway's metrics name it
    method: str
    path: str
    body: bytes = b""
    fields: dict = field(default_factory=dict)
    api: str = "native"  # whose error form
    stream: str = ""  # how its stream ends: see StreamJudge; empty for a whole answer
    statuses: tuple = (200,)  # what is right
    fault_statuses: tuple = (500, 502, 503)  # what a failing fleet may make of it
    kind: str = "json"  # json, text, or none: what a success carries
    relayed: bool = False  # counted as an attempt at one node
    words_key: tuple = ()  # equal keys, equal words: what the model says to one prompt


def json_call(operation, path, body, **more):
    return Call(operation, "POST", path, json.dumps(body).encode(),
                {"Content-Type": "application/json"}, **more)


def multipart(model):
    parts = b""
    for name, value in (('file"; filename="a.wav', b"RIFF....WAVE"), ("model", model.encode())):
        parts += b'--edge\r\nContent-Disposition: form-data; name="' + name.encode()
        parts += b'"\r\n\r\n' + value + b"\r\n"
    return parts + b"--edge--\r\n"


def inference_calls(random, tokens):
    """One call for each inference route, streaming or not."""
    words = f"tell me of river {random.randrange(PROMPTS)} and why"
    messages = [{"role": "user", "content": words}]
    options = {"num_predict": tokens, "temperature": 0}
    calls = []

    def more(how):
        return {"relayed": True, "words_key": (how, words, tokens)}

    for stream in (False, True):
        native = {"model": CHAT, "stream": stream, "options": options}
        openai = {"model": CHAT, "stream": stream, "max_tokens": tokens, "temperature": 0}
        if stream:
            openai["stream_options"] = {"include_usage": True}
        ends = ("done", "[DONE]", "responses", "message_stop") if stream else ("",) * 4
        calls += [
            json_call("generate", "/api/generate", native | {"prompt": words}, stream=ends[0],
                      **more("prompt")),
            json_call("chat", "/api/chat", native | {"messages": messages}, stream=ends[0],
                      **more("chat")),
            json_call("chat_completions", "/v1/chat/completions", openai | {"messages": messages},
                      api="openai", stream=ends[1], **more("chat")),
            json_call("completions", "/v1/completions", openai | {"prompt": words}, api="openai",
                      stream=ends[1], **more("prompt")),
            json_call("responses", "/v1/responses",
                      {"model": CHAT, "input": words, "stream": stream, "temperature": 0,
                       "max_output_tokens": tokens},
                      api="openai", stream=ends[2], **more("chat")),
            json_call("messages", "/v1/messages",
                      {"model": CHAT, "messages": messages, "stream": stream, "temperature": 0,
                       "max_tokens": tokens},
                      api="anthropic", stream=ends[3], **more("chat")),
        ]
    calls += [
        json_call("embed", "/api/embed", {"model": EMBED, "input": [words, "and more"]},
                  **more("embed")),
        json_call("embeddings", "/api/embeddings", {"model": EMBED, "prompt": words},
                  **more("embeddings")),
        json_call("openai_embeddings", "/v1/embeddings", {"model": EMBED, "input": words},
                  api="openai", **more("embedding list")),
        Call("transcriptions", "POST", "/v1/audio/transcriptions", multipart(AUDIO),
             {"Content-Type": "multipart/form-data; boundary=edge"}, api="openai",
             relayed=True, words_key=("audio",)),
    ]
    return calls


def reading_calls():
    """Lists, look-ups, the gateway's own reads, and what is refused."""
    own = {"fault_statuses": ()}
    return [
        Call("root", "GET", "/", kind="text", **own),
        Call("version", "GET", "/api/version", **own),
        Call("version", "HEAD", "/api/version", kind="none", **own),
        Call("tags", "GET", "/api/tags", **own),
        Call("ps", "GET", "/api/ps", **own),
        Call("models", "GET", "/v1/models", api="openai", **own),
        Call("model", "GET", f"/v1/models/{CHAT}", api="openai", relayed=True),
        json_call("show", "/api/show", {"model": CHAT}, relayed=True),
        Call("none", "GET", "/sollol/v1/status", **own),
        Call("none", "GET", "/sollol/v1/nodes", **own),
        Call("none", "GET", "/sollol/v1/decisions", **own),
        Call("none", "GET", "/metrics", kind="text", **own),
        Call("none", "GET", "/no/such/path", statuses=(404,), kind="text", **own),
        Call("none", "GET", "/api/generate", statuses=(404, 405), kind="text", **own),
        json_call("chat", "/api/chat", {"messages": []}, statuses=(400,), **own),
        json_call("generate", "/api/generate", {"model": "no-such-model", "prompt": "x"},
                  statuses=(404,), fault_statuses=(503,)),
    ]


def changing_calls(random):
    """One walk through what changes nodes, on one of a few names: what faults leave there must not
    add up."""
    name = f"soak-{random.randrange(40)}"
    blob = random.randbytes(2000)
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    # A node that came back meanwhile does not have the model, and one that failed may be the last.
    gone = {"statuses": (200, 404)}
    progress = {"stream": "progress"}
    return [
        json_call("pull", "/api/pull", {"model": name}, **progress),
        json_call("show", "/api/show", {"model": name}, relayed=True, **gone),
        json_call("copy", "/api/copy", {"source": CHAT, "destination": name + "-copy"}, kind="none"),
        json_call("pull", "/api/pull", {"model": name, "stream": False}),
        Call("blob_upload", "POST", f"/api/blobs/{digest}", blob, kind="none",
             statuses=(200, 201)),
        Call("blob_check", "HEAD", f"/api/blobs/{digest}", kind="none", statuses=(200, 404)),
        json_call("create", "/api/create", {"model": name + "-made", "from": CHAT}, **progress),
        Call("remove", "DELETE", "/api/delete", json.dumps({"model": name}).encode(), kind="none",
             **gone),
        Call("remove", "DELETE", "/api/delete", json.dumps({"model": name + "-copy"}).encode(),
             kind="none", **gone),
        Call("remove", "DELETE", "/api/delete", json.dumps({"model": name + "-made"}).encode(),
             kind="none", **gone),
    ]


def error_form_problem(api, value):
    """Empty, or why this is not how the API writes an error."""
    error = value.get("error") if isinstance(value, dict) else None
    if api == "native":
        good = isinstance(error, str)
    else:
        good = isinstance(error, dict) and isinstance(error.get("message"), str)
        if api == "anthropic":
            good = good and value.get("type") == "error"
    return "" if good else f"not this API's form of an error: {json.dumps(value)[:200]}"


def tokens_of(value):
    """Output tokens that a record or an answer reports; None where it reports none."""
    if not isinstance(value, dict):
        return None
    if "eval_count" in value:
        return value["eval_count"]
    response = value.get("response")
    usage = value.get("usage") or (isinstance(response, dict) and response.get("usage")) or {}
    return usage.get("completion_tokens", usage.get("output_tokens"))


def at(value, *path):
    """The value at a path of keys and indices; None where there is none."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def words_of(value):
    """What a record or an answer of any API adds to the words of the model."""
    if value.get("type") == "response.output_text.delta":
        return value["delta"]
    if value.get("type", "").startswith("response.") or value.get("type") == "message_start":
        return ""
    found = next((text for text in (
        at(value, "response"), at(value, "delta", "text"),
        at(value, "message", "content") or None,
        at(value, "choices", 0, "delta", "content"), at(value, "choices", 0, "message", "content"),
        at(value, "choices", 0, "text"), at(value, "output", 0, "content", 0, "text"),
        at(value, "content", 0, "text"), at(value, "text"), at(value, "embeddings"),
        at(value, "embedding"), at(value, "data", 0, "embedding"),
    ) if text is not None), "")
    return found if isinstance(found, str) else json.dumps(found)


class StreamJudge:
    """Reads a stream record by record: has it ended, with what, and how many tokens."""

    def __init__(self, call):
        self.call = call
        self.rest = b""
        self.ended = self.failed = False
        self.records = 0
        self.tokens = None
        self.words = ""
        self.problem = ""

    def feed(self, data):
        self.rest += data
        *lines, self.rest = self.rest.split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r"))

    def _line(self, line):
        sse = self.call.stream not in ("done", "progress")
        if not line or line.startswith((b":", b"event:")):
            return
        if sse:
            if not line.startswith(b"data: "):
                self.problem = f"no event: {line[:80]!r}"
                return
            line = line[6:]
        if line == b"[DONE]":
            self.ended = True
            return
        try:
            record = json.loads(line)
        except ValueError:
            self.problem = f"a record is no JSON: {line[:80]!r}"
            return
        self._record(record)

    def _record(self, record):
        if self.ended:
            self.problem = "something follows the end of the stream"
        self.records += 1
        self.words += words_of(record)
        reported = tokens_of(record)
        if reported is not None:
            self.tokens = reported
        kind = record.get("type", "")
        if record.get("error") or kind == "response.failed":
            self.failed = True
            self.problem = "" if kind == "response.failed" else error_form_problem(
                self.call.api, record)
        how = self.call.stream
        self.ended |= (
            (how == "done" and record.get("done") is True)
            or (how == "progress" and record.get("status") == "success")
            or (how == "responses" and kind in ("response.completed", "response.incomplete"))
            or (how == "message_stop" and kind == "message_stop")
        )

    def verdict(self):
        """'whole' or 'error_record', or why neither."""
        if self.problem:
            return self.problem
        if self.failed:
            return "error_record"
        if self.rest:
            return f"it ends inside a record: {self.rest[:80]!r}"
        return "whole" if self.ended else "the body ends well, the stream does not"
