"""The benchmark, so that it does not rot."""

import subprocess
import sys

import pytest

from conftest import ROOT, SOLLOL


def test_the_benchmark_measures_this_package():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "bench/python/run.py"), "--quick", "--sollol", SOLLOL],
                          capture_output=True, text=True, timeout=300)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {cells[1].strip(): cells[4].strip() for cells in
            (line.split("|") for line in done.stdout.splitlines() if line.startswith("| "))}
    assert rows["… nodes found"] == "20"
    assert all(rows.values()) and "–" not in rows.values(), done.stdout
