"""Objects whose threads do not live on in a forked child."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol

from . import _core


class Forkable(Protocol):
    def _after_fork(self) -> None: ...

    def _at_exit(self) -> None: ...


_alive: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(one: Forkable) -> None:
    """Calls its ``_after_fork`` in every child, and ``_at_exit`` before the interpreter goes."""
    _alive.add(one)


def _after_fork() -> None:
    for one in list(_alive):
        one._after_fork()


def _at_exit() -> None:
    _core.end_python()
    for one in list(_alive):
        one._at_exit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
