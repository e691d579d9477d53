"""One pool for all workers of a cluster: it lives in an actor, and they ask through it."""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ._asked import Asked, R
from ._waiting import wait
from .errors import SollolError
from .pool import OllamaPool

Question = Tuple[str, str, bytes, List[Tuple[str, str]]]
Reply = Tuple[int, str, bytes]


class PoolHolder:
    """The actor. Any number of questions at once, on its loop."""

    def __init__(self, pool: OllamaPool) -> None:
        self._pool = pool

    async def ask(self, question: Question) -> Reply:
        """Status, node and body of the answer."""
        async with self._pool._turn():
            call = self._pool._live.call(*question)
            while not call.advance():
                await wait(self._pool, call)
            return call.status, call.field("X-Sollol-Node"), call.take()


class SharedPool(OllamaPool):
    """A pool as a worker of a cluster sees it: an ``OllamaPool`` whose calls go to the actor that holds the real one.

    Streams come whole, then piece by piece. Adding nodes and ending the pool is its owner's.
    """

    def __init__(self, ask: Callable[[Question], Reply]) -> None:
        self._remote = ask
        self.gateway = None
        self.app_name = "worker"
        self.routing_strategy = "shared"
        self._named = []

    def _reply(self, asked: Asked[Any]) -> Reply:
        return self._remote((asked.method, asked.target, asked.body, asked.fields))

    def _ask(self, asked: Asked[R]) -> R:
        return asked.answer(*self._reply(asked))

    def _stream(self, asked: Asked[R]) -> Iterator[R]:
        status, node, text = self._reply(asked)
        if status != 200:
            asked.answer(status, node, text)
        for line in text.splitlines():
            if line.strip():
                yield asked.record(line, node)

    def _ask_each(
        self, asked: Sequence[Asked[R]], width: Optional[int], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Tuple[int, Union[R, SollolError]]]:
        for index, one in enumerate(asked):
            if stopped():
                return
            try:
                yield index, self._ask(one)
            except SollolError as failure:
                yield index, failure

    def close(self) -> None:
        """Nothing: the pool is its owner's."""

    stop = close

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
