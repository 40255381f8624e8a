"""The file that a child writes a heap dump to: without a name, so that it never outlives us."""

from __future__ import annotations

import os

from . import place

KEEP_FREE_BYTES = 64 << 20  # of the file system: it is the app's
MIN_ROOM_BYTES = 16 << 20  # with less beyond that a memory file is the better place
# A dump in memory counts as the app's memory: no more than this, whatever the headroom.
MAX_MEMORY_BYTES = 1 << 30


class Spool:
    """An open file to write to. `limit` is how large it may grow; `in_memory`: it takes memory."""

    def __init__(self, descriptor: int, limit: int, in_memory: bool) -> None:
        self.descriptor = descriptor
        self.limit = limit
        self.in_memory = in_memory

    def size(self) -> int:
        """How many bytes are in it."""
        return os.fstat(self.descriptor).st_size

    def give(self) -> int:
        """The descriptor, which is the receiver's from now on."""
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor

    def close(self) -> None:
        """Lets go of the file, which is then gone. At any time."""
        if self.descriptor >= 0:
            os.close(self.give())


def open_spool(max_bytes: int) -> Spool:
    """A file in the hook directory, or in memory where that takes none.

    Raises:
        OSError: there is neither.
    """
    try:
        descriptor = _nameless_file(place.dump_path())
    except OSError:
        descriptor = -1
    if descriptor >= 0:
        room = _room(descriptor)
        if room >= MIN_ROOM_BYTES:
            return Spool(descriptor, min(max_bytes, room), place.is_memory(descriptor))
        os.close(descriptor)
    return Spool(os.memfd_create("memwatch-dump"), min(max_bytes, MAX_MEMORY_BYTES), True)


def _nameless_file(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    place.remove(path)  # left by a process that was killed between the next two lines
    descriptor = os.open(path, flags, 0o600)
    os.unlink(path)
    return descriptor


def _room(descriptor: int) -> int:
    free = os.fstatvfs(descriptor)
    return free.f_bavail * free.f_frsize - KEEP_FREE_BYTES
