import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from memwatch_heap import _jit


@pytest.fixture
def config():
    return SimpleNamespace(CACHE_DIR="", CACHE_LOCATOR_CLASSES="")


def test_leaves_a_cache_that_can_be_written_to_numba(config):
    """Where the package's folder can be written, or the user chose one, nothing is changed."""
    _jit._find_cache(config)
    assert (config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES) == ("", "")


def test_finds_shipped_kernels_where_nobody_may_write(config, monkeypatch, tmp_path):
    """Read-only, with compiled kernels beside the source: those are used."""
    (tmp_path / "_kernels" / "__pycache__").mkdir(parents=True)
    (tmp_path / "_kernels" / "__pycache__" / "x.nbi").touch()
    monkeypatch.setattr(_jit, "__file__", str(tmp_path / "_jit.py"))
    monkeypatch.setattr(_jit, "_writable", lambda folder: False)
    _jit._find_cache(config)
    assert config.CACHE_LOCATOR_CLASSES == "memwatch_heap._shipped.ShippedLocator"


def test_makes_a_private_cache_where_there_is_none(config, monkeypatch, tmp_path):
    """Read-only and nothing shipped: a folder that only we can write, never one of a stranger."""
    monkeypatch.setattr(_jit, "__file__", str(tmp_path / "_jit.py"))
    monkeypatch.setattr(_jit, "_writable", lambda folder: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _jit._find_cache(config)
    expected = tmp_path / f"memwatch-numba-{os.getuid()}"
    assert str(expected) == config.CACHE_DIR
    assert expected.stat().st_mode & 0o777 == 0o700
    expected.chmod(0o777)
    assert _jit._private_folder(expected) != str(expected)


def test_importing_the_package_costs_nothing():
    """Numba is imported by who computes, not by who imports the package's modules."""
    code = "import sys, memwatch_heap.measures, memwatch_heap.diff, memwatch_heap.index;"
    code += "print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
