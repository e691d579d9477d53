"""Tasks on a Dask cluster."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, List, Optional

from ._asked import Asked
from ._extras import extra
from ._shared import PoolHolder, Question, Reply, SharedPool
from .errors import SollolError
from .execution import Cancel, Outcome, Task, TaskResult, as_they_end, request_of, run_one
from .pool import OllamaPool

distributed: Any = extra("distributed")

_width = 64
_tries = 5  # of a task whose worker, or the pool's, died
_look_every_s = 2.0


class _Holders:
    """The pool in an actor; in another one, on a worker that lives, where that is lost."""

    def __init__(self, client: Any, pool: OllamaPool) -> None:
        self._client = client
        self._pool = pool
        self._lock = threading.Lock()
        self._made = 0
        self.holder: Any = None
        self.renew(0)

    def renew(self, seen: int) -> int:
        """Makes another unless somebody has since ``seen``; the number of the one that is there."""
        with self._lock:
            if seen == self._made:
                self._made += 1
                self.holder = self._client.submit(PoolHolder, self._pool, actor=True, pure=False).result()
            return self._made


def _answer(holder: Any, question: Question) -> Reply:
    """What the actor answers. A call whose actor's worker goes at the wrong moment is never answered: who waits looks
    whether it is still there."""
    asked = holder.ask(question)
    while True:
        try:
            reply: Reply = asked.result(timeout=_look_every_s)
            return reply
        except (TimeoutError, asyncio.TimeoutError):
            if asked.done():
                raise  # the pool's own
            if holder._address not in distributed.get_client().nthreads():
                raise OSError("the worker that holds the pool's actor is gone") from None


class _Ask:
    """Asks through the actor; goes to workers as it is."""

    def __init__(self, holder: Any) -> None:
        self.holder = holder

    def __call__(self, question: Question) -> Reply:
        return _answer(self.holder, question)


def run_on_dask(tasks: List[Task], pool: OllamaPool, width: Optional[int], cancel: Cancel) -> Iterator[Outcome]:
    """Functions run on the cluster's workers; requests go straight to the pool's actor. With a pool that asks a gateway,
    that gateway admits, and the workers ask it themselves."""
    client = _client()
    holders = _Holders(client, pool)

    def run(task: Task) -> TaskResult[Any]:
        if cancel.is_set():
            return TaskResult(error=SollolError("the run was cancelled"))
        try:
            asked = request_of(task)
        except SollolError as wrong:
            return TaskResult(error=wrong)
        if asked is None:
            return _tried(holders, lambda: _run_function(client, holders, pool, task))
        return _tried(holders, lambda: _run_request(holders, asked))

    with ThreadPoolExecutor(width or _width, thread_name_prefix="sollol-dask") as threads:
        futures = {threads.submit(run, task): index for index, task in enumerate(tasks)}
        try:
            yield from as_they_end(futures, cancel)
        finally:
            for future in futures:
                future.cancel()


def _client() -> Any:
    try:
        return distributed.get_client()
    except ValueError:
        return distributed.Client()


def _run_request(holders: _Holders, asked: Asked[Any]) -> TaskResult[Any]:
    status, node, text = _answer(holders.holder, (asked.method, asked.target, asked.body, asked.fields))
    try:
        return TaskResult(asked.answer(status, node, text))
    except SollolError as failure:
        return TaskResult(error=failure)


def _run_function(client: Any, holders: _Holders, pool: OllamaPool, task: Task) -> TaskResult[Any]:
    shared = pool if pool.gateway is not None else SharedPool(_Ask(holders.holder))
    result = client.submit(run_one, task, shared, pure=False).result()
    assert isinstance(result, TaskResult)
    if isinstance(result.error, (ValueError, OSError, RuntimeError)) and "actor" in str(result.error).lower():
        raise result.error  # the pool's actor was lost under it
    return result


def _tried(holders: _Holders, attempt: Callable[[], TaskResult[Any]]) -> TaskResult[Any]:
    """Again where a worker died: the failures of a task itself are its result."""
    failure: Optional[Exception] = None
    for _ in range(_tries):
        seen = holders._made
        try:
            return attempt()
        except Exception as lost:
            failure = lost
            holders.renew(seen)
    return TaskResult(error=failure)
