"""What a pool can be asked for: each call's route, body and kind of answer, sync and async alike."""

from __future__ import annotations

import json
from typing import Any, Generic, Mapping, Optional, Sequence, Type, TypeVar, Union

from . import _requests
from ._responses import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    InferenceResponse,
    ListResponse,
    ProcessResponse,
    ProgressResponse,
    Response,
    ShowResponse,
    StatusResponse,
)
from .errors import ConfigError, SollolError, of_answer

R = TypeVar("R", bound=Response)
_decode = json.JSONDecoder().decode  # json.loads asks each time what it was given
Priority = Union[int, str, None]
Think = Union[bool, str, None]
Format = Union[str, Mapping[str, Any], None]
KeepAlive = Union[float, str, None]
Options = Optional[Mapping[str, Any]]


class Asked(Generic[R]):
    """One request, ready to go."""

    __slots__ = ("method", "target", "body", "kind", "fields")

    def __init__(
        self,
        method: str,
        target: str,
        kind: Type[R],
        body: Optional[Mapping[str, Any]] = None,
        priority: Priority = None,
        node: Optional[str] = None,
    ) -> None:
        self.method = method
        self.target = target
        self.kind = kind
        self.body = b"" if body is None else _requests.encode(body)
        self.fields = [] if priority is None else [("X-Sollol-Priority", urgency(priority))]
        if node is not None:
            self.fields.append(("X-Sollol-Node", node))

    def answer(self, status: int, node: str, text: bytes) -> R:
        """The answer, or the error that it is."""
        if status != 200:
            raise of_answer(status, error_text(text), node)
        return self.record(text or b'{"status": "success"}', node)

    def record(self, text: bytes, node: str) -> R:
        """One object of an answer."""
        try:
            data = _decode(text.decode())
        except ValueError:
            raise SollolError(f"the answer is no JSON: {text[:80]!r}", 0, node) from None
        if "error" in data:
            raise of_answer(500, str(data["error"]), node)
        if node and issubclass(self.kind, InferenceResponse):
            data.setdefault("sollol_node", node)
        return self.kind(data)


def urgency(priority: Union[int, str]) -> str:
    """``high``, ``normal`` or ``low``; of numbers from 1 to 10, 8 and more are high and 3 and less low."""
    if isinstance(priority, str):
        if priority not in ("high", "normal", "low"):
            raise ConfigError(f"priority: write high, normal, low or 1 to 10, not {priority!r}")
        return priority
    if not 1 <= priority <= 10:
        raise ConfigError(f"priority: write 1 to 10, not {priority}")
    return "high" if priority >= 8 else "low" if priority <= 3 else "normal"


def error_text(text: bytes) -> str:
    """What an answer that is an error says."""
    try:
        error = json.loads(text)["error"]
        return str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return text.decode("utf-8", "replace").strip() or "an empty answer"


def chat(
    model: str = "",
    messages: Optional[Sequence[Any]] = None,
    *,
    tools: Optional[Sequence[_requests.Tool]] = None,
    stream: bool = False,
    think: Think = None,
    logprobs: Optional[bool] = None,
    top_logprobs: Optional[int] = None,
    format: Format = None,
    options: Options = None,
    keep_alive: KeepAlive = None,
    priority: Priority = None,
) -> Asked[ChatResponse]:
    body = {
        "model": model,
        "messages": _requests.messages(messages),
        "tools": _requests.tools(tools),
        "stream": stream,
        "think": think,
        "logprobs": logprobs,
        "top_logprobs": top_logprobs,
        "format": format,
        "options": options,
        "keep_alive": keep_alive,
    }
    return Asked("POST", "/api/chat", ChatResponse, body, priority)


def generate(
    model: str = "",
    prompt: Optional[str] = None,
    suffix: Optional[str] = None,
    *,
    system: Optional[str] = None,
    template: Optional[str] = None,
    context: Optional[Sequence[int]] = None,
    stream: bool = False,
    think: Think = None,
    logprobs: Optional[bool] = None,
    top_logprobs: Optional[int] = None,
    raw: Optional[bool] = None,
    format: Format = None,
    images: Optional[Sequence[_requests.Image]] = None,
    options: Options = None,
    keep_alive: KeepAlive = None,
    priority: Priority = None,
) -> Asked[GenerateResponse]:
    body = {
        "model": model,
        "prompt": prompt,
        "suffix": suffix,
        "system": system,
        "template": template,
        "context": context,
        "stream": stream,
        "think": think,
        "logprobs": logprobs,
        "top_logprobs": top_logprobs,
        "raw": raw,
        "format": format,
        "images": _requests.images(images),
        "options": options,
        "keep_alive": keep_alive,
    }
    return Asked("POST", "/api/generate", GenerateResponse, body, priority)


def embed(
    model: str = "",
    input: Union[str, Sequence[str]] = "",
    truncate: Optional[bool] = None,
    options: Options = None,
    keep_alive: KeepAlive = None,
    dimensions: Optional[int] = None,
    *,
    priority: Priority = None,
) -> Asked[EmbedResponse]:
    body = {
        "model": model,
        "input": input,
        "truncate": truncate,
        "options": options,
        "keep_alive": keep_alive,
        "dimensions": dimensions,
    }
    return Asked("POST", "/api/embed", EmbedResponse, body, priority)


def embeddings(
    model: str = "", prompt: Optional[str] = None, options: Options = None, keep_alive: KeepAlive = None
) -> Asked[EmbeddingsResponse]:
    body = {"model": model, "prompt": prompt, "options": options, "keep_alive": keep_alive}
    return Asked("POST", "/api/embeddings", EmbeddingsResponse, body)


def warm(model: str, node: str, route: str) -> Asked[Response]:
    """Loads a model at a node, and asks nothing of it."""
    body = {"model": model, "input": []} if route == "/api/embed" else {"model": model, "stream": False}
    return Asked("POST", route, Response, body, node=node)


def show(model: str) -> Asked[ShowResponse]:
    return Asked("POST", "/api/show", ShowResponse, {"model": model})


def pull(model: str, *, insecure: Optional[bool] = None, stream: bool = False) -> Asked[ProgressResponse]:
    return Asked("POST", "/api/pull", ProgressResponse, {"model": model, "insecure": insecure, "stream": stream})


def delete(model: str) -> Asked[StatusResponse]:
    return Asked("DELETE", "/api/delete", StatusResponse, {"model": model})


def copy(source: str, destination: str) -> Asked[StatusResponse]:
    return Asked("POST", "/api/copy", StatusResponse, {"source": source, "destination": destination})


def listed() -> Asked[ListResponse]:
    return Asked("GET", "/api/tags", ListResponse)


def running() -> Asked[ProcessResponse]:
    return Asked("GET", "/api/ps", ProcessResponse)


def own(target: str) -> Asked[Response]:
    """One of the gateway's own routes."""
    return Asked("GET", "/sollol/v1/" + target, Response)
