"""What the library says, in Python's logging."""

from __future__ import annotations

import logging

from . import _core

logger = logging.getLogger("sollol")
logger.addHandler(logging.NullHandler())


def pass_on() -> None:
    """Logs what the library has said since the last time."""
    for level, text in _core.take_log():
        logger.log(level, "%s", text)
