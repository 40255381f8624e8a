"""Collects the hooks for both runtimes in one folder: what an init container copies.

    node/memwatch-hook.cjs        NODE_OPTIONS=--require=…/node/memwatch-hook.cjs
    python/bootstrap, python      PYTHONPATH=…/python/bootstrap:…/python

What `make hooks` compiled (walkers for several CPythons, the addon for Node) comes along; without
it the hooks work, slower.
"""

import shutil
import sys
from pathlib import Path

_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")


def collect(source: Path, to: Path) -> None:
    """Copies the hooks of a source tree."""
    hook, python = source / "hook", to / "python"
    shutil.copytree(hook / "memwatch_hook", python / "memwatch_hook", ignore=_SKIPPED)
    shutil.copytree(hook / "bootstrap", python / "bootstrap", ignore=_SKIPPED)
    (to / "node").mkdir()
    for file in sorted((hook / "node").glob("*.cjs")):
        shutil.copy2(file, to / "node")
    compiled = source / "build" / "hooks"
    if compiled.is_dir():
        shutil.copytree(compiled, to, dirs_exist_ok=True, ignore=_SKIPPED)


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]))
