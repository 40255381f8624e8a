"""The hook's folder with its C parts built into it for every interpreter that can be found."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import runtimes

HOOK = runtimes.ROOT / "hook"
WALKERS = ("py", "c")


def environment(walker: str) -> dict[str, str]:
    """The environment that hooks a Python; LookupError says why it cannot be had."""
    folder = HOOK if walker == "py" else with_c_walker()
    return {"PYTHONPATH": f"{folder / 'bootstrap'}:{folder}", "MEMWATCH_WALKER": walker}


@functools.cache
def with_c_walker() -> Path:
    """A folder beside the runtimes: the hook as it is now, and its extension for each interpreter.

    Built once for each state of the sources. Raises LookupError where a compiler or headers lack.
    """
    sources = [HOOK / "build.py", *(HOOK / "csrc").iterdir(), *HOOK.glob("*/**/*.py")]
    sources.sort()
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = runtimes.HOME / "hook-c" / digest
    if not folder.exists():
        _build(folder)
    return folder


def _build(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.parent.iterdir(), key=os.path.getmtime)[:-4]:
        shutil.rmtree(old, ignore_errors=True)
    pythons = [python for minor in runtimes.PYTHON_MINORS if (python := runtimes.python(minor))]
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        made = Path(fresh) / "hook"
        command: list[str | Path] = [
            Path(sys.executable),
            HOOK / "build.py",
            "folder",
            made,
            *pythons,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lacking = [line for line in done.stdout.splitlines() if "no C walker" in line]
        assert "the compiler says" not in done.stdout, done.stdout
        if lacking:
            raise LookupError("; ".join(lacking))
        try:
            made.rename(folder)
        except OSError:  # another run was faster
            assert folder.exists()
