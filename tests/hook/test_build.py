"""What services are given: one folder that serves every CPython at once, with a compiler or not."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.hook.walkers import HOOK, with_c_walker
from tests.support import runtimes

ASK = "from memwatch_hook import walker as w; print(w.kind(), w.WHY_NOT_C)"


def asked(python, folder, **env):
    """What the hook in a folder says of an interpreter."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), **env}
    done = subprocess.run([python, "-c", ASK], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_one_folder_serves_every_interpreter():
    """Each CPython finds its own walker; asked for the twin it says so."""
    folder = with_c_walker()
    for minor in runtimes.PYTHON_MINORS:
        if python := runtimes.python(minor):
            assert asked(python, folder) == "c", minor
    assert (
        asked(sys.executable, folder, MEMWATCH_WALKER="py") == "python MEMWATCH_WALKER asks for it"
    )


def test_without_a_compiler_everything_is_there_but_the_walker(tmp_path):
    """The folder is made, the builder names what lacks, and the hook says which walker it has."""
    python = Path(sys.base_prefix) / "bin" / "python3"  # this environment has the hook
    command = [sys.executable, HOOK / "build.py", "folder", tmp_path, python]
    env = {"PATH": "/nowhere", "HOME": "/nowhere"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "no C walker: there is no C compiler on the PATH" in done.stdout
    tag = sys.implementation.cache_tag
    assert (tmp_path / "memwatch_hook" / "__pycache__" / f"server.{tag}.pyc").exists()
    said = asked(python, tmp_path)
    assert said == "python the C walker was not built for this interpreter"


def test_the_newest_cpython_has_its_walker():
    """3.14 reads its heap in C, where this machine has one."""
    python = runtimes.python(runtimes.NEXT_PYTHON_MINOR)
    if python is None:
        pytest.skip("no CPython 3.14: python -m tests.support.debian_python makes one")
    assert asked(python, with_c_walker()) == "c"


@pytest.mark.skipif(not list(HOOK.glob("*.egg-info")), reason="setuptools is not installed here")
def test_the_pure_wheel_has_no_dependency(tmp_path):
    """`MEMWATCH_WALKER=no` makes a wheel for any Python 3.9 and later."""
    build = "from setuptools import build_meta as b; import sys; print(b.build_wheel(sys.argv[1]))"
    source = tmp_path / "hook"
    subprocess.run(["cp", "-r", HOOK, source], check=True)
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path],
        cwd=source,
        env={**os.environ, "MEMWATCH_WALKER": "no"},
        capture_output=True,
        text=True,
        check=True,
    )
    name = done.stdout.splitlines()[-1]
    assert name.endswith("py3-none-any.whl")
    with zipfile.ZipFile(tmp_path / name) as wheel:
        names = wheel.namelist()
        assert "memwatch_hook/snapshot.py" in names
        [metadata] = [file for file in names if file.endswith("METADATA")]
        assert "Requires-Dist" not in wheel.read(metadata).decode()
