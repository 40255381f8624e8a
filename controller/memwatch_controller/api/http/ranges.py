"""The Range header of HTTP (RFC 9110, 14.2): one range of bytes; pure."""

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


class UnsatisfiableError(Exception):
    """No byte of the range is there."""


def parse(header: str, size: int) -> Span | None:
    """The bytes that are asked for; None: all, as for a header that is not understood.

    Several ranges in one header are answered with all bytes, as the standard allows.

    Raises:
        UnsatisfiableError: the range begins behind the end.
    """
    found = _ONE_RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise UnsatisfiableError
        return Span(size - length, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return Span(start, min(size, int(last) + 1) if last else size)
