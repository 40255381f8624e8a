"""The hook's folder with its C parts built into it for every interpreter that can be found."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support import runtimes

HOOK = runtimes.ROOT / "hook"
WALKERS = ("py", "c")

# What is asked of each interpreter: how its extensions are named, and where its headers are.
FACTS = "import sysconfig as s; print(s.get_config_var('EXT_SUFFIX'), s.get_path('include'))"


def environment(walker: str) -> dict[str, str]:
    """The environment that hooks a Python; LookupError says why it cannot be had."""
    folder = HOOK if walker == "py" else with_c_walker()
    return {"PYTHONPATH": f"{folder / 'bootstrap'}:{folder}", "MEMWATCH_WALKER": walker}


@functools.cache
def with_c_walker() -> Path:
    """A folder beside the runtimes: the hook as it is now, and its extension for each interpreter.

    Built once for each state of the sources. Raises LookupError where a compiler or headers lack.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise LookupError("there is no C compiler on the PATH")
    sources = sorted((HOOK / "csrc").iterdir()) + sorted(HOOK.glob("*/**/*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = runtimes.HOME / "hook-c" / digest
    if not folder.exists():
        _build(compiler, folder)
    return folder


def _build(compiler: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.parent.iterdir(), key=os.path.getmtime)[:-4]:
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        made = Path(fresh) / "hook"
        for part in ("memwatch_hook", "bootstrap"):
            shutil.copytree(HOOK / part, made / part, ignore=shutil.ignore_patterns("__pycache__"))
        for minor in runtimes.PYTHON_MINORS:
            if python := runtimes.python(minor):
                _compile(compiler, python, made / "memwatch_hook")
        try:
            made.rename(folder)
        except OSError:  # another run was faster
            assert folder.exists()


def _compile(compiler: str, python: Path, folder: Path) -> None:
    facts = subprocess.run([python, "-c", FACTS], capture_output=True, text=True, check=True)
    suffix, include = facts.stdout.split()
    if not (Path(include) / "internal" / "pycore_interp.h").exists():
        raise LookupError(f"{python} has no headers")
    flags = ["-O2", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter"]
    headers = ["-isystem", include, "-isystem", f"{include}/internal"]
    for source, target in (("module.c", f"_walker{suffix}"), ("convert.c", "_convert.abi3.so")):
        files = [str(HOOK / "csrc" / source), "-o", str(folder / target)]
        subprocess.run([compiler, *flags, "-shared", "-fPIC", *headers, *files], check=True)
