"""The documented programs, in network namespaces."""

import subprocess
import sys
from pathlib import Path

import pytest

NOT_PERMITTED = 77


def test_documented_programs():
    script = Path(__file__).with_name("documented_programs.py")
    done = subprocess.run([sys.executable, "-B", str(script)], capture_output=True, text=True, timeout=300)
    if done.returncode == NOT_PERMITTED:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
