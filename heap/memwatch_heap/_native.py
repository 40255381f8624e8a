"""Keeps the kernels' machine code in files, and loads it without numba.

One file a module of kernels, named after a key: the sources that it is made from, the CPU that it
is for, the version of LLVM. What is missing, damaged or made from other sources is made anew. The
files stand beside the kernels' source where that can be written (an install, an image's build),
else in the user's cache, else in a private folder.
"""

import contextlib
import hashlib
import importlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from memwatch_heap import _jit

# Which CPU the code is for, by numba's names: any of this architecture unless they say else. An
# image is built on another machine than it runs on, and kernels wait for memory, not for AVX.
CPU, FEATURES = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"

_HERE = Path(__file__).parent
# What code is made from beside its own module.
_SOURCES = ("_jit.py", "_machine.py", "_compile.py", "formats/states.py")
_MAGIC = b"memwatch kernels 1\n"
# A module's file has some 20 kB; what is far longer is none.
_MAX_BYTES = 1 << 24
# Files of one module that a folder keeps: of other CPUs, or of a version before.
_KEPT = 4

_lock = threading.Lock()
_engines: list[Any] = []  # machine code lives as long as its engine


def bind(name: str) -> None:
    """Loads or compiles the kernels of a module, and gives them their addresses."""
    with _lock:
        addresses = _load(obtain(importlib.import_module(name)), name)
        for kernel in _jit.registry[name]:
            kernel.bind(addresses)


def obtain(module: ModuleType) -> bytes:
    """The object file of a module's kernels: kept, or compiled and then kept.

    Raises:
        ImportError: it must be compiled, and numba is not installed.
    """
    cpu, features = os.environ.get(CPU) or "generic", os.environ.get(FEATURES, "")
    name = f"{module.__name__.rpartition('.')[2]}.{_key(module, cpu, features)}.o"
    for folder, private in _folders():
        code = _read(folder / name, private)
        if code is not None:
            return code
    from memwatch_heap._compile import compile_module

    code = compile_module(module, cpu, features)
    _keep(name, code)
    return code


def _key(module: ModuleType, cpu: str, features: str) -> str:
    """What tells one module's machine code from that of other sources, CPUs and LLVMs."""
    import llvmlite.binding as llvm

    assert module.__file__
    sources = [Path(module.__file__), *(_HERE / source for source in _SOURCES)]
    parts = [cpu, features, llvm.get_process_triple(), ".".join(map(str, llvm.llvm_version_info))]
    parts += [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


# -- files


def _folders() -> Iterator[tuple[Path, bool]]:
    """(where code may be kept, whether that is a private folder), in the order of preference."""
    yield _HERE / "_kernels" / "__pycache__", False
    with contextlib.suppress(RuntimeError):  # no home
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        yield cache / "memwatch" / "kernels", True
    yield Path(tempfile.gettempdir()) / f"memwatch-kernels-{os.getuid()}", True


def _read(path: Path, private: bool) -> bytes | None:
    """The code in a file; None where there is none, or none to be trusted.

    Beside the source a file is as good as the source. Elsewhere it must be ours alone: we will run
    what is in it.
    """
    try:
        with open(path, "rb", opener=_without_links) as file:
            found = os.fstat(file.fileno())
            if private and (found.st_uid != os.getuid() or found.st_mode & 0o022):
                return None
            content = file.read(_MAX_BYTES)
    except OSError:
        return None
    begin = len(_MAGIC)
    digest, code = content[begin : begin + 32], content[begin + 32 :]
    known = content[:begin] == _MAGIC and digest == _digest(path.name, code)
    return code if known else None


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _digest(name: str, code: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + code).digest()


def _keep(name: str, code: bytes) -> None:
    """Writes a file into the first folder that takes it, whole or not at all."""
    for folder, private in _folders():
        try:
            folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
            if private and not _is_ours(folder):
                continue
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(_MAGIC + _digest(name, code) + code)
                os.fchmod(file.fileno(), 0o644)
            os.replace(file.name, folder / name)
            _prune(folder, name.partition(".")[0])
        except OSError:
            continue
        return


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _prune(folder: Path, part: str) -> None:
    """Deletes the oldest files of a module."""
    files = sorted(folder.glob(f"{part}.*.o"), key=lambda path: path.stat().st_mtime)
    for path in files[:-_KEPT]:
        path.unlink(missing_ok=True)


# -- memory


def _load(code: bytes, name: str) -> dict[str, int]:
    """The addresses of a module's symbols, its machine code in memory."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()  # the engine asks for one, though it prints nothing
    target = llvm.Target.from_triple(llvm.get_process_triple())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return {
        kernel.symbol(number): engine.get_function_address(kernel.symbol(number))
        for kernel in _jit.registry[name]
        for number in range(len(kernel.signatures))
    }
