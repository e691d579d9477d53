"""Answers with the field names of Ollama's own Python client, by attribute and by key."""

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping, Optional, Sequence, Type, TypeVar

T = TypeVar("T", bound="Response")


class Response(Mapping[str, Any]):
    """A JSON object. ``answer.done`` and ``answer["done"]`` are the same; a known field that the server left out
    is None. Made once from the server's JSON and not changed afterwards."""

    _parts: dict[str, Type[Response]] = {}  # fields that are objects, or lists of objects, of their own kind

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._data:
            if name in self._fields():
                return None
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self._data)}")
        return self._part(name, self._data[name])

    def _part(self, name: str, value: Any) -> Any:
        kind = self._parts.get(name)
        if kind is None or value is None:
            return value
        if isinstance(value, list):
            return [kind(one) for one in value]
        return kind(value)

    @classmethod
    def _fields(cls) -> set[str]:
        return {name for base in cls.__mro__ for name in base.__dict__.get("__annotations__", ())}

    def __getitem__(self, name: str) -> Any:
        if name in self._data:
            return self._part(name, self._data[name])
        if name in self._fields():
            return None
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __contains__(self, name: object) -> bool:
        return self._data.get(name) is not None if isinstance(name, str) else False

    def get(self, name: str, default: Any = None) -> Any:
        value = self._data.get(name)
        return default if value is None else self._part(name, value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Response):
            return self._data == other._data
        return self._data == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._data!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data,)

    def model_dump(self) -> dict[str, Any]:
        """As plain dicts and lists."""
        return dict(self._data)

    def model_dump_json(self) -> str:
        return json.dumps(self._data)


class ToolCallFunction(Response):
    name: str
    arguments: Mapping[str, Any]


class ToolCall(Response):
    _parts = {"function": ToolCallFunction}
    function: ToolCallFunction


class Message(Response):
    _parts = {"tool_calls": ToolCall}
    role: str
    content: Optional[str]
    thinking: Optional[str]
    images: Optional[Sequence[str]]
    tool_name: Optional[str]
    tool_calls: Optional[Sequence[ToolCall]]


class InferenceResponse(Response):
    model: Optional[str]
    created_at: Optional[str]
    done: Optional[bool]
    done_reason: Optional[str]
    total_duration: Optional[int]
    load_duration: Optional[int]
    prompt_eval_count: Optional[int]
    prompt_eval_duration: Optional[int]
    eval_count: Optional[int]
    eval_duration: Optional[int]
    sollol_node: Optional[str]
    sollol_resumed: Optional[int]


class ChatResponse(InferenceResponse):
    _parts = {"message": Message}
    message: Message
    logprobs: Optional[Sequence[Mapping[str, Any]]]


class GenerateResponse(InferenceResponse):
    response: str
    thinking: Optional[str]
    context: Optional[Sequence[int]]
    logprobs: Optional[Sequence[Mapping[str, Any]]]


class EmbedResponse(InferenceResponse):
    embeddings: Sequence[Sequence[float]]


class EmbeddingsResponse(Response):
    embedding: Sequence[float]


class ModelDetails(Response):
    parent_model: Optional[str]
    format: Optional[str]
    family: Optional[str]
    families: Optional[Sequence[str]]
    parameter_size: Optional[str]
    quantization_level: Optional[str]


class ListedModel(Response):
    _parts = {"details": ModelDetails}
    model: Optional[str]
    name: Optional[str]
    modified_at: Optional[str]
    digest: Optional[str]
    size: Optional[int]
    details: Optional[ModelDetails]


class ListResponse(Response):
    _parts = {"models": ListedModel}
    models: Sequence[ListedModel]


class RunningModel(ListedModel):
    expires_at: Optional[str]
    size_vram: Optional[int]
    context_length: Optional[int]


class ProcessResponse(Response):
    _parts = {"models": RunningModel}
    models: Sequence[RunningModel]


class StatusResponse(Response):
    status: Optional[str]


class ProgressResponse(StatusResponse):
    completed: Optional[int]
    total: Optional[int]
    digest: Optional[str]


class ShowResponse(Response):
    _parts = {"details": ModelDetails}
    modified_at: Optional[str]
    template: Optional[str]
    modelfile: Optional[str]
    license: Optional[str]
    details: Optional[ModelDetails]
    model_info: Optional[Mapping[str, Any]]
    parameters: Optional[str]
    capabilities: Optional[Sequence[str]]

    @property
    def modelinfo(self) -> Optional[Mapping[str, Any]]:
        """The name that Ollama's client has for ``model_info``."""
        found: Optional[Mapping[str, Any]] = self.get("model_info")
        return found
