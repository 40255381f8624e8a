import os
import subprocess
import sys

import pytest

from memwatch_heap import _backend, _compile, _native
from memwatch_heap.testing import HeapBuilder

pytestmark = pytest.mark.skipif(not _backend.available, reason="kernels need llvmlite")


@pytest.fixture
def made(monkeypatch):
    """What was compiled, by name; nothing really is."""
    names = []

    def compile_module(module, cpu, features):
        names.append((module.__name__.rpartition(".")[2], cpu, features))
        return b"code"

    monkeypatch.setattr(_compile, "compile_module", compile_module)
    return names


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """(beside the source, the user's cache, the last resort)."""
    found = [(tmp_path / name, private) for name, private in (("a", 0), ("b", 1), ("c", 1))]
    monkeypatch.setattr(_native, "_folders", lambda: iter(found))
    monkeypatch.delenv(_native.CPU, raising=False)
    return [folder for folder, _ in found]


def diff():
    return _native.obtain(_backend.kernels("diff"))


def test_code_is_compiled_once(made, folders):
    """The second asking is answered from the file, which others can read."""
    assert (diff(), diff()) == (b"code", b"code")
    assert made == [("diff", "generic", "")]
    (file,) = folders[0].iterdir()
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "renamed", "link"])
def test_damaged_code_is_compiled_again(made, folders, damage):
    """A file that is not whole, not ours, or another's is no code."""
    diff()
    (file,) = folders[0].iterdir()
    content = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(content[:-1])
        case "bit":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "empty":
            file.write_bytes(b"")
        case "renamed":
            name = file.name.replace("diff", "dom")
            (folders[0] / name).write_bytes(content)
            assert _native._read(folders[0] / name, private=False) is None
            file.unlink()
        case "link":
            file.rename(folders[0] / "elsewhere")
            file.symlink_to("elsewhere")
    assert diff() == b"code"
    assert len(made) == 2


def test_code_is_kept_for_each_cpu(made, folders, monkeypatch):
    """Code for another CPU than any has a file of its own; old files go."""
    diff()
    for cpu in ("skylake", "znver4", "skylake", "x1", "x2", "x3"):
        monkeypatch.setenv(_native.CPU, cpu)
        diff()
    assert [cpu for _, cpu, _ in made] == ["generic", "skylake", "znver4", "x1", "x2", "x3"]
    assert len(list(folders[0].iterdir())) == _native._KEPT


def test_code_is_kept_where_that_is_possible(made, folders):
    """A folder that cannot be written is passed over; the user's own is private."""
    folders[0].write_text("in the way")
    diff()
    (file,) = folders[1].iterdir()
    assert folders[1].stat().st_mode & 0o777 == 0o700
    assert diff() == b"code"
    assert len(made) == 1
    file.chmod(0o666)  # anybody may have written it
    diff()
    assert len(made) == 2


def test_a_folder_of_others_is_not_used(made, folders):
    """Code that will run is not put where others could change it; at worst it is made anew."""
    folders[0].write_text("in the way")
    for folder in folders[1:]:
        folder.mkdir()
        folder.chmod(0o777)
    assert (diff(), diff()) == (b"code", b"code")
    assert len(made) == 2
    assert not any(os.listdir(folder) for folder in folders[1:])


def test_no_kernel_needs_the_compiler_s_runtime():
    """All that the code of a module asks from outside is libc; a kernel that asks more is named."""
    code = _compile.compile_module(_backend.kernels("dom"), "generic", "")
    assert b"_spread.0" in code
    assert b"NRT" not in code
    assert b"Py" not in code


def test_a_cold_command_imports_no_compiler(tmp_path):
    """`memwatchctl analyze` in a new process: no numba, and nothing of the network's."""
    from memwatch_heap import warm

    warm.warm(lambda line: None)  # as after the first run
    heap = HeapBuilder()
    heap.node("object", "Leak", size=8)
    heap.edge(0, "property", "leak", 1)
    file = tmp_path / "x.heapsnapshot"
    file.write_bytes(heap.text())
    code = (
        "import sys; from memwatchctl.__main__ import run; code = run(sys.argv[1:]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules})); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "analyze", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"memwatchctl", "memwatch_heap", "numpy", "llvmlite"} <= loaded
    unwanted = {"numba", "grpc", "google", "asyncio", "yaml", "rich", "structlog", "psutil"}
    assert not loaded & unwanted
