"""What an agent may ask of a heap snapshot, checked."""

from __future__ import annotations

from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEAPSNAPSHOT, DUMP = "heapsnapshot", "dump"
FORMATS = (HEAPSNAPSHOT, DUMP)

MAX_DUMP_BYTES = 16 << 30  # a billion objects: nobody's heap
MAX_STRING_CHARS = 1024  # of a value that is shown


class HeapOptions:
    """The options of a `heap` request.

    `collect`: collect garbage first. `format`: of FORMATS. `strings`: characters shown of each str
    value. `max_bytes`: the greatest dump.
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
        if type(self.collect) is not bool:
            raise _refused("'gc' is true or false")
        if self.format not in FORMATS:
            raise _refused(f"'format' is one of {', '.join(FORMATS)}")
        if not _is_within(self.strings, 0, MAX_STRING_CHARS):
            raise _refused(f"'strings' is a number from 0 to {MAX_STRING_CHARS}")
        if not _is_within(self.max_bytes, 1, MAX_DUMP_BYTES):
            raise _refused(f"'max_bytes' is a number from 1 to {MAX_DUMP_BYTES}")


def _is_within(value: object, least: int, greatest: int) -> bool:
    return type(value) is int and least <= value <= greatest


def _refused(rule: str) -> wire.RequestError:
    return wire.RequestError(wire.BAD_REQUEST, f"cannot take a snapshot: {rule}")
