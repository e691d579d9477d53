"""Turns machines that run Ollama into one inference service."""

from importlib.metadata import PackageNotFoundError, version

from ._batch import BatchResult
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
from .discovery import discover_ollama_nodes
from .errors import (
    ConfigError,
    ConnectionBroken,
    ModelNotFound,
    NodeError,
    NodeUnreachable,
    NoNodeAvailable,
    RequestError,
    RequestTimeout,
    ShardingUnavailable,
    SollolError,
)
from .pool import AsyncOllamaPool, OllamaPool
from .registry import Node, NodeRegistry

try:
    __version__ = version("sollol")
except PackageNotFoundError:  # run from a build folder
    __version__ = "0"

__all__ = [
    "AsyncOllamaPool",
    "BatchResult",
    "ChatResponse",
    "ConfigError",
    "ConnectionBroken",
    "EmbedResponse",
    "EmbeddingsResponse",
    "GenerateResponse",
    "ListResponse",
    "Message",
    "ModelNotFound",
    "NoNodeAvailable",
    "Node",
    "NodeError",
    "NodeRegistry",
    "NodeUnreachable",
    "OllamaPool",
    "ProcessResponse",
    "ProgressResponse",
    "RequestError",
    "RequestTimeout",
    "ShardingUnavailable",
    "ShowResponse",
    "SollolError",
    "StatusResponse",
    "discover_ollama_nodes",
]
