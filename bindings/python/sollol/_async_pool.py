"""Many Ollama nodes as one, for programs that await."""

from __future__ import annotations

import asyncio
import os
from typing import Any, AsyncIterator, Iterable, List, Literal, Mapping, Optional, Sequence, Union, overload

from . import _asked, _batch
from ._batch import BatchArguments, BatchResult
from ._ollama_pool import OllamaPool
from ._responses import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    ProcessResponse,
    ProgressResponse,
    ShowResponse,
    StatusResponse,
)
from ._waiting import ask_async, stream_async

__all__ = ["AsyncOllamaPool"]


class AsyncOllamaPool:
    """``OllamaPool`` for programs that await: one thread carries any number of calls.

    Takes what ``OllamaPool`` takes. Making it blocks while it looks for nodes: give it ``nodes`` or a ``gateway``, or
    make it before the loop runs. ``pool`` is the pool itself, for all else.
    """

    def __init__(self, *positional: Any, **arguments: Any) -> None:
        self.pool = OllamaPool(*positional, **arguments)

    @overload
    async def chat(
        self, model: str = "", messages: Optional[Sequence[Any]] = None, *, stream: Literal[True], **arguments: Any
    ) -> AsyncIterator[ChatResponse]: ...

    @overload
    async def chat(
        self,
        model: str = "",
        messages: Optional[Sequence[Any]] = None,
        *,
        stream: Literal[False] = False,
        **arguments: Any,
    ) -> ChatResponse: ...

    async def chat(self, *positional: Any, **arguments: Any) -> Union[ChatResponse, AsyncIterator[ChatResponse]]:
        """One message more of a conversation; with ``stream=True`` piece by piece."""
        asked = _asked.chat(*positional, **arguments)
        return stream_async(self.pool, asked) if arguments.get("stream") else await ask_async(self.pool, asked)

    @overload
    async def generate(
        self, model: str = "", prompt: Optional[str] = None, *, stream: Literal[True], **arguments: Any
    ) -> AsyncIterator[GenerateResponse]: ...

    @overload
    async def generate(
        self, model: str = "", prompt: Optional[str] = None, *, stream: Literal[False] = False, **arguments: Any
    ) -> GenerateResponse: ...

    async def generate(
        self, *positional: Any, **arguments: Any
    ) -> Union[GenerateResponse, AsyncIterator[GenerateResponse]]:
        """Goes on with a prompt; with ``stream=True`` piece by piece."""
        asked = _asked.generate(*positional, **arguments)
        return stream_async(self.pool, asked) if arguments.get("stream") else await ask_async(self.pool, asked)

    async def embed(self, *positional: Any, **arguments: Any) -> EmbedResponse:
        """The vectors of one text or several."""
        return await ask_async(self.pool, _asked.embed(*positional, **arguments))

    async def embeddings(self, *positional: Any, **arguments: Any) -> EmbeddingsResponse:
        """The vector of one text, over Ollama's older route."""
        return await ask_async(self.pool, _asked.embeddings(*positional, **arguments))

    async def embed_batch(self, model: str, inputs: Sequence[str], **arguments: Any) -> List[EmbedResponse]:
        """The vectors of many texts, each a request of its own, in the order of ``inputs``."""
        return await asyncio.gather(*(self.embed(model, text, **arguments) for text in inputs))

    def batch(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        output: Optional[Union[str, os.PathLike[str]]] = None,
        concurrency: Optional[int] = None,
        as_they_finish: bool = False,
        max_failures: Optional[int] = None,
        retry_failed: bool = False,
        endpoint: str = "",
        progress: Optional[bool] = None,
    ) -> AsyncIterator[BatchResult]:
        """Many requests over all nodes, as ``OllamaPool.batch``: ``async for result in pool.batch(…)``."""
        arguments = BatchArguments(output, concurrency, as_they_finish, max_failures, retry_failed, endpoint, progress)
        arguments.check()
        return _batch.run_async(self.pool, requests, arguments)

    async def list(self) -> ListResponse:
        """The models that the nodes have, each once."""
        return await ask_async(self.pool, _asked.listed())

    async def ps(self) -> ProcessResponse:
        """The models that are loaded somewhere."""
        return await ask_async(self.pool, _asked.running())

    async def show(self, model: str) -> ShowResponse:
        return await ask_async(self.pool, _asked.show(model))

    @overload
    async def pull(
        self, model: str, *, insecure: Optional[bool] = None, stream: Literal[False] = False
    ) -> ProgressResponse: ...

    @overload
    async def pull(
        self, model: str, *, insecure: Optional[bool] = None, stream: Literal[True]
    ) -> AsyncIterator[ProgressResponse]: ...

    async def pull(
        self, model: str, *, insecure: Optional[bool] = None, stream: bool = False
    ) -> Union[ProgressResponse, AsyncIterator[ProgressResponse]]:
        """Lets the nodes fetch a model; with ``stream=True`` its progress."""
        asked = _asked.pull(model, insecure=insecure, stream=stream)
        return stream_async(self.pool, asked) if stream else await ask_async(self.pool, asked)

    async def delete(self, model: str) -> StatusResponse:
        """Removes a model from the nodes that have it."""
        return await ask_async(self.pool, _asked.delete(model))

    async def copy(self, source: str, destination: str) -> StatusResponse:
        """Gives a model another name on the nodes that have it."""
        return await ask_async(self.pool, _asked.copy(source, destination))

    async def close(self) -> None:
        """Ends the pool's threads; what still runs breaks off."""
        await asyncio.get_running_loop().run_in_executor(None, self.pool.close)

    async def __aenter__(self) -> AsyncOllamaPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
