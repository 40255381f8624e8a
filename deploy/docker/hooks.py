"""Collects the hooks for both runtimes in one folder: what an init container copies.

    hooks.py collect SOURCE TO         node/memwatch-hook.cjs, python/bootstrap and memwatch_hook
    hooks.py lend HOOKS ENVIRONMENT    lets an agent use them for services that have no hook

What `make hooks` compiled (walkers for several CPythons, the addon for Node) is taken where it is
there; without it the hooks work, slower.
"""

import shutil
import sys
from pathlib import Path

_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")
_ADDON = "memwatch-fork.node"


def collect(source: Path, to: Path) -> None:
    """Copies the hooks of a source tree, and over them what was compiled."""
    hook, python = source / "hook", to / "python"
    shutil.copytree(hook / "memwatch_hook", python / "memwatch_hook", ignore=_SKIPPED)
    shutil.copytree(hook / "bootstrap", python / "bootstrap", ignore=_SKIPPED)
    (to / "node").mkdir()
    for file in sorted((hook / "node").glob("*.cjs")):
        shutil.copy2(file, to / "node")
    compiled = source / "build" / "hooks"
    if compiled.is_dir():
        shutil.copytree(compiled, to, dirs_exist_ok=True)  # bytecode too, of all interpreters


def lend(hooks: Path, environment: Path) -> None:
    """Puts the addon beside the agent's driver, and the Python hook's package on its path.

    The agent converts heap dumps with that package, in a process of its own.
    """
    (packages,) = environment.glob("lib/python3.*/site-packages")
    (packages / "memwatch-hooks.pth").write_text(f"{hooks / 'python'}\n")
    addon = hooks / "node" / _ADDON
    if addon.exists():
        shutil.copy2(addon, packages / "memwatch_agent" / "drivers")


if __name__ == "__main__":
    {"collect": collect, "lend": lend}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
