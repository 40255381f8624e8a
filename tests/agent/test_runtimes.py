"""`runtimes.py`: which runtime a process runs, by its executable alone."""

import pytest

from memwatch_agent import runtimes
from memwatch_agent.drivers.base import Runtime

NODE, PYTHON = Runtime.NODE, Runtime.PYTHON


@pytest.mark.parametrize(
    ("exe", "argv", "runtime"),
    [
        ("/usr/bin/node", [], NODE),
        ("/usr/bin/nodejs", [], NODE),
        ("/opt/node-22", [], NODE),
        ("/usr/bin/node (deleted)", [], NODE),
        ("/usr/bin/python3.12", [], PYTHON),
        ("/usr/bin/python", [], PYTHON),
        ("/usr/bin/python3.13t", [], PYTHON),
        ("/usr/bin/python3.11d", [], PYTHON),
        ("", ["/usr/bin/node", "x"], NODE),
        ("", ["python3", "x"], PYTHON),
        ("/usr/bin/pypy3", [], None),
        ("/usr/bin/node_exporter", [], None),
        ("/usr/bin/python-config", [], None),
        ("/usr/bin/java", ["node"], None),
        ("/bin/sleep", [], None),
        ("", [], None),
    ],
)
def test_a_runtime_by_its_executable(exe, argv, runtime):
    """Names that only look alike are not taken for a runtime."""
    assert runtimes.runtime_of(exe, argv) is runtime


def test_an_embedded_python_is_known_by_its_library(tmp_path):
    """UWSGI carries a CPython inside it: its loaded library tells which."""
    (tmp_path / "maps").write_text("7f00-7f01 r-xp 0 0:1 1 /usr/lib/libpython3.12.so.1.0\n")

    assert runtimes.embeds_python("/usr/bin/uwsgi-core", tmp_path)
    assert not runtimes.embeds_python("/usr/bin/vim", tmp_path)
    assert runtimes.python_version("/usr/bin/uwsgi-core", tmp_path) == "3.12"


def test_a_python_without_a_version_in_its_name(tmp_path):
    """A static `python3` tells no version; nothing is made up."""
    assert runtimes.python_version("/usr/bin/python3", tmp_path) == ""
    assert runtimes.python_version("/usr/bin/python3.10", tmp_path) == "3.10"


@pytest.mark.parametrize("where", [0, 1024 * 1024 - 20, 3 * 1024 * 1024])
def test_a_version_is_found_anywhere_in_a_binary(tmp_path, where):
    """Also where it lies across two blocks of the search."""
    text = b"https://nodejs.org/download/release/v22.1.0/node-v22.1.0.tar.gz"
    (tmp_path / "exe").write_bytes(bytes(where) + text + bytes(100))

    assert runtimes.NodeVersions().version(tmp_path, "/x/bin/node") == "22.1.0"


def test_a_binary_is_searched_once(tmp_path, monkeypatch):
    """The same file is not read again."""
    (tmp_path / "exe").write_bytes(b"/node-v22.1.0.tar.gz")
    versions = runtimes.NodeVersions()
    versions.version(tmp_path, "/x/bin/node")
    monkeypatch.setattr(runtimes, "_version_in_binary", lambda _path: "read again")

    assert versions.version(tmp_path, "/x/bin/node") == "22.1.0"


def test_a_binary_without_a_version_is_no_error(tmp_path):
    """No version is an empty one."""
    assert runtimes.NodeVersions().version(tmp_path, "/x/bin/node") == ""
    (tmp_path / "exe").write_bytes(b"nothing here")
    assert runtimes.NodeVersions().version(tmp_path, "/x/bin/node") == ""
