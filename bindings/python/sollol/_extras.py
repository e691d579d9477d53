"""Packages that are there only where they were asked for."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import ConfigError

_extras = {"ray": "ray", "distributed": "dask", "tqdm.auto": "progress"}


def extra(module: str) -> Any:
    """The module, untyped: what its releases call what changes. Says how to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise ConfigError(f"{module}: {missing}; install it: pip install 'sollol[{_extras[module]}]'") from None
