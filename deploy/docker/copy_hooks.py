"""What the init image runs: copies the hooks into the folder that the service mounts, and ends."""

import shutil
import sys
from pathlib import Path


def copy(hooks: Path, to: Path) -> None:
    """Copies over what is there: a pod may start its init containers twice.

    Raises:
        OSError: the folder cannot be written.
    """
    shutil.copytree(hooks, to, dirs_exist_ok=True, copy_function=shutil.copyfile)


if __name__ == "__main__":
    try:
        copy(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, IndexError) as error:
        sys.exit(f"cannot copy hooks: {error}; run with the folder as its argument")
