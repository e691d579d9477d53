"""Arguments as Ollama's own client takes them, made into request bodies."""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
from typing import Any, Callable, Mapping, Optional, Sequence, Union, get_type_hints

from .errors import ConfigError

Tool = Union[Mapping[str, Any], Callable[..., Any]]
Image = Union[str, bytes, "os.PathLike[str]"]

_json_types = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def encode(body: Mapping[str, Any]) -> bytes:
    """The body without what was not given."""
    given = {name: value for name, value in body.items() if value is not None}
    try:
        return json.dumps(given, default=_as_json, separators=(",", ":")).encode()
    except TypeError as wrong:
        raise ConfigError(f"arguments: {wrong}; give plain values, mappings and sequences") from None


def _as_json(value: Any) -> Any:
    """Mappings and models of other libraries, such as Ollama's own messages."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(exclude_none=True) if "exclude_none" in inspect.signature(dump).parameters else dump()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, os.PathLike)):
        return image(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def image(value: Image) -> str:
    """Base64 of bytes, of a file's bytes, or as it is where it is that already."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str) and not os.path.exists(value):
        return value
    try:
        with open(value, "rb") as file:
            return base64.b64encode(file.read()).decode()
    except OSError as wrong:
        raise ConfigError(f"images: {wrong}") from None


def images(values: Optional[Sequence[Image]]) -> Optional[list[str]]:
    return None if values is None else [image(value) for value in values]


def messages(values: Optional[Sequence[Any]]) -> list[dict[str, Any]]:
    made = []
    for value in values or ():
        message = dict(value if isinstance(value, Mapping) else _as_json(value))
        if message.get("images") is not None:
            message["images"] = [_given_image(one) for one in message["images"]]
        made.append({name: part for name, part in message.items() if part is not None})
    return made


def _given_image(value: Any) -> str:
    return image(getattr(value, "value", value))


def tools(values: Optional[Sequence[Tool]]) -> Optional[list[Any]]:
    if values is None:
        return None
    return [tool_of(value) if inspect.isroutine(value) else value for value in values]


def tool_of(function: Callable[..., Any]) -> dict[str, Any]:
    """A function as a tool: its parameters' types, and what its docstring says of them (``name: …`` lines below
    ``Args:``)."""
    hints = get_type_hints(function)
    summary, described = _read_docstring(function)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        origin = getattr(hints.get(name), "__origin__", hints.get(name, str))
        properties[name] = {"type": _json_types.get(origin, "string"), "description": described.get(name, "")}
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
    return {
        "type": "function",
        "function": {
            "name": function.__name__,
            "description": summary,
            "parameters": {"type": "object", "properties": properties, "required": required},
        },
    }


def _read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    text = inspect.getdoc(function) or ""
    summary, _, rest = text.partition("\nArgs:")
    arguments = rest.partition("\nReturns:")[0]
    found = re.findall(r"^\s+(\w+)\s*(?:\([^)]*\))?:\s*(.+)$", arguments, re.MULTILINE)
    return summary.strip(), {name: what.strip() for name, what in found}
