"""Puts a `.pth` file where an interpreter reads it: the hook for `python -E` and `-I`, too.

    python -m memwatch_hook install --pth            into this interpreter's site-packages
    python -m memwatch_hook install --pth DIR        into another's
    python -m memwatch_hook install --pth --remove

Nothing else is changed. A hook that is not there any more does no harm: the line is silent.
"""

from __future__ import annotations

import os
import sys
import sysconfig

NAME = "memwatch-hook.pth"

# The folder goes last on the path, and only if it is needed: nothing of the app's is hidden.
CODE = """\
try:
 try:
  import memwatch_hook.bootstrap as b
 except ImportError:
  sys.path.append({folder!r})
  import memwatch_hook.bootstrap as b
 b.start()
except Exception:
 pass
"""


def main(arguments: list[str]) -> int:
    """Installs or removes; the exit status."""
    remove = "--remove" in arguments
    folders = [word for word in arguments if not word.startswith("-")]
    if len(folders) + remove != len(arguments) or len(folders) > 1:
        sys.stderr.write("usage: python -m memwatch_hook install --pth [DIR] [--remove]\n")
        return 2
    folder = folders[0] if folders else sysconfig.get_path("purelib")
    path = os.path.join(folder, NAME)
    try:
        _remove(path) if remove else _write(path)
    except OSError as fault:
        verb = "remove" if remove else "write"
        sys.stderr.write(
            f"cannot {verb} '{path}': {fault.strerror}; name the site-packages folder\n"
        )
        return 1
    sys.stdout.write(f"{'removed' if remove else 'wrote'} {path}\n")
    return 0


def text() -> str:
    """The file's content: one line, for site.py executes lines that begin with `import`."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return f"import sys; exec({CODE.format(folder=folder)!r})\n"


def _write(path: str) -> None:
    fresh = f"{path}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text())
    os.replace(fresh, path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
