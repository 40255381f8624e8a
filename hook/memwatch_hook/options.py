"""What an agent may ask of a heap snapshot, checked."""

from __future__ import annotations

from . import wire
from .tracing import Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEAPSNAPSHOT, DUMP = "heapsnapshot", "dump"
FORMATS = (HEAPSNAPSHOT, DUMP)

MAX_DUMP_BYTES = 16 << 30  # a billion objects: nobody's heap
MAX_STRING_CHARS = 1024  # of a value that is shown
MAX_DEADLINE_MILLIS = 900_000  # a child that takes longer hangs: 900 s are 200 million objects
MAX_EXTRA_BYTES = 1 << 60  # nobody's memory


class HeapOptions:
    """The options of a `heap` request.

    `collect`: collect garbage first. `format`: of FORMATS. `strings`: characters shown of each str
    value. `max_bytes`: the greatest dump. `deadline_millis`: how long the child may take.
    `max_extra_bytes`: what the walk, and what the app writes meanwhile, may take of memory; 0: as
    much as `pace.limit` says.
    `sites`: a dump says where objects were allocated, where tracemalloc is on. `trace`: what is to
    become of tracing after the snapshot.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        """Reads them.

        Raises:
            RequestError: an option is not what it may be.
        """
        self.collect: bool = options.get("gc", True)
        self.format: str = options.get("format", HEAPSNAPSHOT)
        self.strings: int = options.get("strings", 0)
        self.max_bytes: int = options.get("max_bytes", MAX_DUMP_BYTES)
        self.deadline_millis: int = options.get("deadline_millis", MAX_DEADLINE_MILLIS)
        self.max_extra_bytes: int = options.get("max_extra_bytes", 0)
        self.sites: bool = options.get("sites", False)
        self.trace = Wish(options["trace"]) if options.get("trace") is not None else None
        if type(self.collect) is not bool:
            raise _refused("'gc' is true or false")
        if type(self.sites) is not bool:
            raise _refused("'sites' is true or false")
        if self.format not in FORMATS:
            raise _refused(f"'format' is one of {', '.join(FORMATS)}")
        if not _is_within(self.strings, 0, MAX_STRING_CHARS):
            raise _refused(f"'strings' is a number from 0 to {MAX_STRING_CHARS}")
        if not _is_within(self.max_bytes, 1, MAX_DUMP_BYTES):
            raise _refused(f"'max_bytes' is a number from 1 to {MAX_DUMP_BYTES}")
        if not _is_within(self.deadline_millis, 1, MAX_DEADLINE_MILLIS):
            raise _refused(f"'deadline_millis' is a number from 1 to {MAX_DEADLINE_MILLIS}")
        if not _is_within(self.max_extra_bytes, 0, MAX_EXTRA_BYTES):
            raise _refused(f"'max_extra_bytes' is a number from 0 to {MAX_EXTRA_BYTES}")


def _is_within(value: object, least: int, greatest: int) -> bool:
    return type(value) is int and least <= value <= greatest


def _refused(rule: str) -> wire.RequestError:
    return wire.RequestError(wire.BAD_REQUEST, f"cannot take a snapshot: {rule}")
