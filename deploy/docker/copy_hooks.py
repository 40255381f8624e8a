"""What the init image runs: copies the hooks into the folder that the service mounts, and ends.

A service must start also where its hooks could not be had: then they are left out, and said so.
"""

import os
import shutil
import sys
from pathlib import Path


def copy(hooks: Path, to: Path) -> None:
    """Copies over what is there: a pod may start its init containers twice.

    Contents only: a volume's folder is another user's, who alone may change its mode and times.

    Raises:
        OSError: the folder cannot be written.
    """
    for folder, _, files in os.walk(hooks, onerror=_fail):
        target = to / Path(folder).relative_to(hooks)
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(Path(folder, name), target / name)


def copy_or_leave_out(hooks: Path, to: Path) -> str:
    """Copies; where that fails, leaves an empty hook that Node can load. Why it failed, or "".

    Raises:
        OSError: not even that can be written: Node would not start with a missing file.
    """
    try:
        copy(hooks, to)
    except OSError as error:
        empty = to / "node" / "memwatch-hook.cjs"
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.write_text("")
        return f"cannot copy hooks: {error}; the service starts without them"
    return ""


def _fail(error: OSError) -> None:
    raise error


if __name__ == "__main__":
    try:
        sys.stderr.write(copy_or_leave_out(Path(sys.argv[1]), Path(sys.argv[2])))
    except (OSError, IndexError) as error:
        sys.exit(f"cannot copy hooks: {error}; run with the folder as its argument")
