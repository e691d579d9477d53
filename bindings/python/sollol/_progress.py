"""A bar that tells how far many tasks are."""

from __future__ import annotations

import sys
from typing import Any, Optional

from ._extras import extra
from .errors import ConfigError


class Progress:
    """A bar where somebody sees it."""

    def __init__(self, total: int, wanted: Optional[bool]) -> None:
        self._bar: Any = None
        if wanted is False or (wanted is None and not _somebody_looks()):
            return
        try:
            self._bar = extra("tqdm.auto").tqdm(total=total, unit="task")
        except ConfigError:
            if wanted:
                raise

    def advance(self) -> None:
        if self._bar is not None:
            self._bar.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _somebody_looks() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
