"""Files on their way: parts of blobs that come in, copies of blobs that are read.

Several programs may share the folder (workers on one machine). Each file is locked as long as
it is in use, so that what a killed program left is told from what a living one needs: the lock
ends with its process. The folder itself is locked while a file is made, and while leftovers are
looked for, so that none is taken for a leftover before it is locked.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


class Staged:
    """One file in use, open for writing; `remove` ends that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO = path.open("xb")
        # A descriptor of its own: the lock must outlive the writing.
        self._lock = os.open(path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Removes the file; one that was moved away stays where it is now."""
        with contextlib.suppress(OSError):  # closing flushes, which fails on a full disk
            self.file.close()
        self.path.unlink(missing_ok=True)
        os.close(self._lock)


class Staging:
    """The folder for files on their way."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder, and removes what a program that was killed left in it.

        Raises:
            OSError: the folder cannot be made or written.
        """
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.swept = self.sweep()

    def new(self, suffix: str) -> Staged:
        """A new empty file.

        Raises:
            OSError: it cannot be made.
        """
        with self._locked(fcntl.LOCK_SH):
            return Staged(self.folder / f"{uuid4().hex}{suffix}")

    def sweep(self) -> int:
        """Removes the files that nobody uses; how many."""
        with self._locked(fcntl.LOCK_EX):
            return sum(_remove_unused(path) for path in self.folder.iterdir())

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)


def _remove_unused(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    path.unlink()
    return True
