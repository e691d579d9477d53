"""Many Ollama nodes as one: requests go where they finish first."""

from __future__ import annotations

from ._async_pool import AsyncOllamaPool
from ._ollama_pool import OllamaPool

__all__ = ["AsyncOllamaPool", "OllamaPool"]
