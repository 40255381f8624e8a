"""Runs a program with the hook started: `python -m memwatch_hook app.py args…`, or `-m module`.

`python -m memwatch_hook install --pth` hooks every program of this interpreter: see install.py.
"""

from __future__ import annotations

import os
import runpy
import sys

from . import start

USAGE = """usage: python -m memwatch_hook (-m module | file.py) [argument …]
       python -m memwatch_hook install --pth [DIR] [--remove]
"""


def main() -> None:
    """Starts the hook and becomes the program that is named."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        sys.stderr.write(USAGE)
        raise SystemExit(0 if arguments[:1] in (["-h"], ["--help"]) else 2)
    if arguments[:2] == ["install", "--pth"]:
        from .install import main as install

        raise SystemExit(install(arguments[2:]))
    start()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
