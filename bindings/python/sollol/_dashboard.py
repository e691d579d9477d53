"""Telling a gateway that runs which applications use the fleet."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Optional

from . import _core
from .errors import SollolError

_default_gateway = "http://127.0.0.1:11434"
_patience_s = 1.0


def announce(gateway: Optional[str], api_key: str, app_name: str) -> None:
    """Tells the named gateway, that of ``SOLLOL_GATEWAY``, or the one at the usual address. In the background, and silent
    when none is there."""
    url = gateway or os.environ.get("SOLLOL_GATEWAY") or _default_gateway
    threading.Thread(target=_announce, args=(url, api_key, app_name), name="sollol-announce", daemon=True).start()


def _announce(url: str, api_key: str, app_name: str) -> None:
    body = json.dumps({"name": app_name, "host": socket.gethostname(), "pid": os.getpid()}).encode()
    try:
        call = _core.open_gateway(url, api_key, _patience_s).call("POST", "/sollol/v1/applications", body)
        call.read_all(_patience_s)
    except SollolError:
        pass
