"""Fails the run at once, with one clear line, when nothing answers at SOLLOL_URL."""

import urllib.error
import urllib.request

import pytest
from common import TIMEOUT_S, URL


def pytest_sessionstart(session: pytest.Session) -> None:
    try:
        with urllib.request.urlopen(URL + "/api/version", timeout=TIMEOUT_S):
            return
    except (urllib.error.URLError, OSError) as error:
        pytest.exit(f"no server at SOLLOL_URL={URL}: {error}", returncode=2)
