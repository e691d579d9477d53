"""The engines on real clusters, in network namespaces of their own."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

NOT_PERMITTED = 77


@pytest.mark.parametrize("package, script", [("ray", "on_ray.py"), ("distributed", "on_dask.py")])
def test_tasks_on_a_cluster(package, script):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    done = subprocess.run([sys.executable, "-B", str(Path(__file__).with_name(script))], capture_output=True,
                          text=True, timeout=300)
    if done.returncode == NOT_PERMITTED:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
