"""Asking without a thread: a call is a descriptor, which the program's own loop watches."""

from __future__ import annotations

import asyncio
from typing import AsyncIterator, List

from . import _core
from ._asked import Asked, R
from ._service import Service


class Lines:
    """Pieces in, whole lines out."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> List[bytes]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in whole if line.strip()]


async def wait(pool: Service, call: _core.Call) -> None:
    """Until the call can go on."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    descriptor = call.descriptor
    # Reading is watched even while the request is on its way: a refusal may come before it is out.
    loop.add_reader(descriptor, _set, ready)
    if call.sends:
        loop.add_writer(descriptor, _set, ready)
    try:
        await asyncio.wait_for(ready, None if pool._timeout < 0 else pool._timeout)
    except asyncio.TimeoutError:
        raise pool._late() from None
    finally:
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def ask_async(pool: Service, asked: Asked[R]) -> R:
    async with pool._turn():
        call = pool._begin(asked)
        while not call.advance():
            await wait(pool, call)
        return asked.answer(call.status, call.field("X-Sollol-Node"), call.take())


async def stream_async(pool: Service, asked: Asked[R]) -> AsyncIterator[R]:
    """The records of an answer; closing the iterator ends the work at the node."""
    async with pool._turn():
        call = pool._begin(asked)
        lines = Lines()
        ended = False
        while not ended:
            ended = call.advance()
            if call.status not in (0, 200):
                while not call.advance():
                    await wait(pool, call)
                asked.answer(call.status, call.field("X-Sollol-Node"), call.take())
            for line in lines.take(call.take()):
                yield asked.record(line, call.field("X-Sollol-Node"))
            if not ended:
                await wait(pool, call)
