# ruff: noqa: T201 - a program that says what it built
"""Builds what services are given: a folder, or wheels, that serve every CPython at hand at once.

    python hook/build.py folder OUT [PYTHON …]    what an init container copies
    python hook/build.py wheels OUT [PYTHON …]    the pure wheel, and one with the C walker for each

Without PYTHON: all CPythons 3.9–3.14 on the PATH and of pyenv, and this one. An interpreter without
headers, or a machine without a compiler, gets no C walker: the hook works, slower, and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MINORS = range(9, 15)
PARTS = ("memwatch_hook", "bootstrap")
# As in setup.py; the interpreter's headers are not ours to be warned of.
# NDEBUG as in CPython itself; without it nothing fails either: docs/decisions/0011-c-walker.md.
FLAGS = (
    "-O2",
    "-DNDEBUG",
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
    "-Wno-unused-parameter",
)
CONVERTER = "_convert.abi3.so"  # reads files, not interpreters: one build serves them all
LIMITED = "-DPy_LIMITED_API=0x03090000"
# What is asked of each interpreter: how its extensions are named, and where its headers are.
FACTS = "import sysconfig as s; print(s.get_config_var('EXT_SUFFIX'), s.get_path('include'))"
ASK = "from memwatch_hook import walker as w; print(w.kind(), w.WHY_NOT_C)"


def interpreters() -> list[Path]:
    """One CPython of each minor version that the walker knows."""
    # This one's own, where it is a virtual environment: those that uv makes have no pip for wheels.
    own = Path(getattr(sys, "_base_executable", sys.executable))
    found = {sys.version_info.minor: own}
    for minor in MINORS:
        name = f"python3.{minor}"
        pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}"))
        on_path = shutil.which(name)
        if pyenv:
            found.setdefault(minor, pyenv[-1])
        elif on_path and "shims" not in on_path:
            found.setdefault(minor, Path(on_path))
    return [found[minor] for minor in sorted(found) if minor in MINORS]


def folder(out: Path, pythons: list[Path]) -> dict[Path, str]:
    """Makes the folder; for each interpreter an empty string, or why it has no C walker.

    It holds each interpreter's bytecode: a service cannot write it beside hooks that it mounts
    read-only, and would compile them at every start, for 30 to 60 ms.
    """
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(HERE / part, out / part, ignore=ignored, dirs_exist_ok=True)
    package = out / "memwatch_hook"
    started = {python: _start_walker(python, package) for python in pythons}
    outcomes = {python: _outcome(job) for python, job in started.items()}
    built = [python for python, why in outcomes.items() if not why]
    if built and (why := _outcome(_start_converter(built[0], package))):
        raise SystemExit(f"cannot build the converter: {why}")
    for python in pythons:
        _write_bytecode(python, out)
    return outcomes


def wheels(out: Path, pythons: list[Path]) -> dict[Path, str]:
    """Makes the pure wheel and one for each interpreter; as `folder`."""
    _wheel(pythons[0], out, "no")
    return {python: _wheel(python, out, "yes") for python in pythons}


def asked(out: Path, python: Path) -> str:
    """What the hook in a folder says of an interpreter: `c`, or `python` and why."""
    env = {**os.environ, "PYTHONPATH": str(out), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("MEMWATCH_WALKER", None)
    done = subprocess.run([python, "-c", ASK], env=env, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def _write_bytecode(python: Path, out: Path) -> None:
    """Compiles the folder's sources, valid for as long as they are these: copies change times."""
    flags = ("-q", "--invalidation-mode", "checked-hash", "-s", str(out))
    subprocess.run([python, "-m", "compileall", *flags, str(out)], check=True)


def _start_walker(python: Path, package: Path) -> subprocess.Popen[str] | str:
    if _compiler() is None:
        return "there is no C compiler on the PATH"
    suffix, include = _facts(python)
    if not (Path(include) / "internal" / "pycore_interp.h").exists():
        return "it has no headers"
    headers = ["-isystem", include, "-isystem", f"{include}/internal"]
    # Debian's pyconfig.h names a file by its place in the folder above; that of a chroot's
    # interpreter is on no usual path.
    headers += ["-idirafter", str(Path(include).parent)]
    return _compile("module.c", package / f"_walker{suffix}", headers)


def _start_converter(python: Path, package: Path) -> subprocess.Popen[str]:
    include = _facts(python)[1]
    headers = ["-isystem", include, "-idirafter", str(Path(include).parent)]
    return _compile("convert.c", package / CONVERTER, [*headers, LIMITED])


def _compile(source: str, target: Path, flags: list[str]) -> subprocess.Popen[str]:
    command = [
        str(_compiler()),
        *FLAGS,
        "-shared",
        "-fPIC",
        *flags,
        str(HERE / "csrc" / source),
        "-o",
        str(target),
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def _facts(python: Path) -> tuple[str, str]:
    done = subprocess.run([python, "-c", FACTS], capture_output=True, text=True, check=True)
    suffix, include = done.stdout.split()
    return suffix, include


def _outcome(job: subprocess.Popen[str] | str) -> str:
    if isinstance(job, str):
        return job
    said = job.communicate()[1]
    return f"the compiler says: {said[-2000:]}" if job.returncode else ""


def _wheel(python: Path, out: Path, walker: str) -> str:
    command = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, HERE]
    env = {**os.environ, "MEMWATCH_WALKER": walker, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.stderr.strip()[-500:] if done.returncode else ""


def main() -> int:
    """Builds and says of each interpreter what it got; 1 where there is nothing to build for."""
    if len(sys.argv) < 3 or sys.argv[1] not in ("folder", "wheels"):
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(sys.argv[2]).resolve()
    pythons = [Path(word) for word in sys.argv[3:]] or interpreters()
    made = folder(out, pythons) if sys.argv[1] == "folder" else wheels(out, pythons)
    for python, why in made.items():
        said = "built" if sys.argv[1] == "wheels" else f"walker: {asked(out, python)}"
        print(f"→ {python}: {f'no C walker: {why}' if why else said}")
    return 0 if made else 1


if __name__ == "__main__":
    sys.exit(main())
