"""The names of Ollama's own client: a program moves to all nodes by importing them from here.

``from sollol.ollama import Client`` for ``from ollama import Client``; ``import sollol.ollama as ollama`` for
``import ollama``, whose functions ask a pool that is made when the first is called.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

from ._responses import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    Message,
    ProcessResponse,
    ProgressResponse,
    ShowResponse,
    StatusResponse,
)
from .errors import RequestError, SollolError
from .pool import AsyncOllamaPool, OllamaPool

ResponseError = SollolError

__all__ = [
    "AsyncClient",
    "ChatResponse",
    "Client",
    "EmbedResponse",
    "EmbeddingsResponse",
    "GenerateResponse",
    "ListResponse",
    "Message",
    "ProcessResponse",
    "ProgressResponse",
    "RequestError",
    "ResponseError",
    "ShowResponse",
    "StatusResponse",
    "chat",
    "copy",
    "delete",
    "embed",
    "embeddings",
    "generate",
    "list",
    "ps",
    "pull",
    "show",
]


class Client(OllamaPool):
    """``OllamaPool``, of the node ``host`` alone where it is given."""

    def __init__(self, host: Optional[str] = None, **arguments: Any) -> None:
        super().__init__(None if host is None else [host], **arguments)


class AsyncClient(AsyncOllamaPool):
    """``AsyncOllamaPool``, of the node ``host`` alone where it is given."""

    def __init__(self, host: Optional[str] = None, **arguments: Any) -> None:
        super().__init__(None if host is None else [host], **arguments)


_making = threading.Lock()
_pool: Optional[OllamaPool] = None


def _shared() -> OllamaPool:
    global _pool
    with _making:
        if _pool is None:
            _pool = OllamaPool()
        return _pool


def _of_pool(name: str) -> Callable[..., Any]:
    def asking(*positional: Any, **arguments: Any) -> Any:
        return getattr(_shared(), name)(*positional, **arguments)

    asking.__name__ = name
    asking.__doc__ = getattr(OllamaPool, name).__doc__
    return asking


chat = _of_pool("chat")
copy = _of_pool("copy")
delete = _of_pool("delete")
embed = _of_pool("embed")
embeddings = _of_pool("embeddings")
generate = _of_pool("generate")
list = _of_pool("list")
ps = _of_pool("ps")
pull = _of_pool("pull")
show = _of_pool("show")
