"""A CPython that this machine does not have, from a Debian suite, to run the hook's tests on.

    python -m tests.support.debian_python [--root DIR] [--suite sid]

As root, with debootstrap and patchelf (both are Debian packages), in a minute or two. DIR (default
`.runtimes/root-3.14`) is made by debootstrap where it is not there; it may also be a chroot that
you have, with python3 and libpython3-dev in it. Its interpreter gets a twin in usr/local/bin which
runs outside of the chroot, too: its loader and libraries are named by their full paths. From then
on `runtimes.python("3.14")` finds it, and every test of the hook has a row for it.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support import runtimes

PACKAGES = "python3,libpython3-dev,python3-pip,python3-venv"
LOADER = "lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def twin(root: Path) -> Path:
    """Makes the interpreter of a chroot run outside of it; the new binary."""
    own = (root / "usr/bin/python3").resolve()  # a link beside it
    made = root / "usr/local/bin" / own.name
    made.unlink(missing_ok=True)
    shutil.copy2(own, made)
    command: list[str | Path] = ["patchelf", "--set-interpreter", root / LOADER]
    # RPATH, not RUNPATH: it also holds for what the standard library's extensions need.
    command += ["--force-rpath", "--set-rpath", root / LIBRARIES, made]
    subprocess.run(command, check=True)
    return made


def main(arguments: Sequence[str]) -> int:
    """Makes the chroot where it is missing, and the binary that the tests use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=runtimes.HOME / "root-3.14")
    parser.add_argument("--suite", default="sid")
    options = parser.parse_args(arguments)
    root: Path = options.root.resolve()
    lacking = [word for word in ("debootstrap", "patchelf") if shutil.which(word) is None]
    if "patchelf" in lacking or (lacking and not root.exists()):
        print(f"cannot make a CPython: there is no {' and no '.join(lacking)}", file=sys.stderr)
        return 1
    if not root.exists():
        words = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", options.suite]
        subprocess.run([*words, str(root)], check=True)
    made = twin(root)
    known = runtimes.HOME / f"root-{made.name.removeprefix('python')}"
    if not known.exists():
        known.symlink_to(root)
    subprocess.run([made, "-VV"], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
