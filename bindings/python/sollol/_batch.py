"""Many requests as one batch of the library, with the results read from its output while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from typing import Any, AsyncIterator, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from . import _core, _forks, _requests
from ._progress import Progress
from ._responses import ChatResponse, EmbedResponse, GenerateResponse, Response
from ._service import Service
from .errors import ConfigError, SollolError, of_answer

_look_every_s = 0.5  # a thread's wait for the next result ends then, so that it can be left
_id_prefix = "batch_req_"  # of results in OpenAI's batch file form


class BatchResult:
    """What became of one request: ``response``, or the ``error`` that it ended with.

    ``index``: of the request, from 0. ``custom_id``: of a request in OpenAI's batch file form. ``node``: that answered; several, separated by commas, of a list to embed that was cut. ``seconds``: from sending it to its answer.
    """

    __slots__ = ("index", "custom_id", "response", "error", "node", "attempts", "seconds", "prompt_tokens", "output_tokens")

    def __init__(self, line: Mapping[str, Any]) -> None:
        facts = line.get("sollol", line)
        usage = facts.get("usage", {})
        self.index: int = (line["line"] if "line" in line else int(line["id"][len(_id_prefix) :])) - 1
        self.custom_id: Optional[str] = line.get("custom_id")
        self.node: Optional[str] = facts.get("node")
        self.attempts: int = facts["attempts"]
        self.seconds: float = facts["seconds"]
        self.prompt_tokens: int = usage.get("prompt_tokens", 0)
        self.output_tokens: int = usage.get("output_tokens", 0)
        status, answer, error = _answer_of(line)
        self.response: Optional[Response] = None if error is not None else _kind_of(answer)(answer)
        self.error: Optional[SollolError] = None
        if error is not None:
            self.error = of_answer(status, error, self.node or "") if status else SollolError(error, 0, self.node)

    @property
    def ok(self) -> bool:
        return self.error is None

    def get(self) -> Response:
        """The response; raises the error."""
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response

    def __repr__(self) -> str:
        return f"BatchResult({self.index}, {self.error!r})" if self.error else f"BatchResult({self.index}, {self.response!r})"


def _answer_of(line: Mapping[str, Any]) -> Tuple[int, Mapping[str, Any], Optional[str]]:
    """Status (0: none came), answer and what is wrong of a line of the output, in either of its forms."""
    if "line" in line:
        return line.get("status", 0), line.get("response", {}), line.get("error")
    if line["response"] is None:
        return 0, {}, line["error"]["message"]
    status, body = line["response"]["status_code"], line["response"]["body"]
    if status == 200:
        return status, body, None
    error = body.get("error", body) if isinstance(body, dict) else body
    return status, {}, str(error.get("message", error) if isinstance(error, dict) else error)


def _kind_of(answer: Mapping[str, Any]) -> type[Response]:
    for field, kind in (("message", ChatResponse), ("response", GenerateResponse), ("embeddings", EmbedResponse)):
        if field in answer:
            return kind
    return Response


class BatchArguments(NamedTuple):
    output: Optional[Union[str, os.PathLike[str]]] = None
    concurrency: Optional[int] = None
    as_they_finish: bool = False
    max_failures: Optional[int] = None
    retry_failed: bool = False
    endpoint: str = ""
    progress: Optional[bool] = None

    def check(self) -> None:
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigError(f"concurrency: write 1 or more, or leave it out, not {self.concurrency}")
        if self.max_failures is not None and self.max_failures < 0:
            raise ConfigError(f"max_failures: write 0 or more, or leave it out, not {self.max_failures}")


class _Running:
    """A batch under way, its files, and its bar."""

    def __init__(self, pool: Service, requests: Iterable[Mapping[str, Any]], arguments: BatchArguments) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sollol-batch-")
        source = os.path.join(self._folder.name, "requests.jsonl")
        self._output = os.path.join(self._folder.name, "results.jsonl")
        if arguments.output is not None:
            self._output = os.path.abspath(arguments.output)
        self._file: Any = None
        self._rest = b""
        self._done = 0
        try:
            count = _write(source, requests)
            self._bar = Progress(count, arguments.progress)
            self._core: _core.RunningBatch = pool._live.run_batch(
                source,
                self._output,
                arguments.endpoint,
                arguments.concurrency or 0,
                arguments.max_failures,
                arguments.as_they_finish,
                arguments.retry_failed,
            )
        except BaseException:
            self._folder.cleanup()
            raise
        _forks.watch(self)

    def wait(self) -> bool:
        """Until there may be more results; whether the batch has ended."""
        self._done, ended = self._core.wait(self._done, _look_every_s)
        return ended

    def take(self) -> List[BatchResult]:
        """Results that were not taken yet."""
        if self._file is None:
            if self._done == 0:  # the file may yet be an earlier run's
                return []
            self._file = open(self._output, "rb")
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for _ in lines:
            self._bar.advance()
        return [BatchResult(json.loads(line)) for line in lines]

    def check(self) -> None:
        """Of a batch that has ended: raises what ended it early."""
        stopped = self._core.stopped()
        if stopped:
            raise SollolError(f"the batch ended early: {stopped}")

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._core.close()
        self._bar.__exit__()
        if self._file is not None:
            self._file.close()
        self._folder.cleanup()

    def _after_fork(self) -> None:
        self._core.abandon()
        self._folder._finalizer.detach()  # type: ignore[attr-defined]  # the files are the parent's

    def _at_exit(self) -> None:
        self._core.close()


def _write(path: str, requests: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with open(path, "wb") as file:
        for count, request in enumerate(requests, 1):
            if not isinstance(request, Mapping):
                raise ConfigError(f"requests: each is a mapping, and {count - 1} is {request!r}")
            file.write(_requests.encode(request) + b"\n")
    return count


def run(pool: Service, requests: Iterable[Mapping[str, Any]], arguments: BatchArguments) -> Iterator[BatchResult]:
    with _Running(pool, requests, arguments) as batch:
        ended = False
        while not ended:
            ended = batch.wait()
            yield from batch.take()
        batch.check()


async def run_async(
    pool: Service, requests: Iterable[Mapping[str, Any]], arguments: BatchArguments
) -> AsyncIterator[BatchResult]:
    loop = asyncio.get_running_loop()
    with _Running(pool, requests, arguments) as batch:
        ended = False
        while not ended:
            ended = await loop.run_in_executor(None, batch.wait)
            for result in batch.take():
                yield result
        batch.check()
