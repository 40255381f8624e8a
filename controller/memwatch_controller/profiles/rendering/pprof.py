"""Writes a tree of stacks as pprof's `profile.proto`, which `go tool pprof` and others read.

Written by hand: six messages of plain fields, for which a generated module and its runtime check
would be the larger dependency. The numbers of fields are those of
github.com/google/pprof/proto/profile.proto.
"""

import gzip
from collections.abc import Iterable

from memwatch_controller.profiles.rendering.stacks import Frame, Tree

_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRING_TABLE = 1, 2, 4, 5, 6
_PERIOD_TYPE, _PERIOD = 11, 12


def pprof(tree: Tree, period_bytes: int) -> bytes:
    """The profile, gzipped as pprof expects it; samples of `objects` and of `space` in bytes."""
    strings = _Strings()
    types = [("objects", "count"), ("space", "bytes")]
    body = [_message(_SAMPLE_TYPE, _value_type(strings, *one)) for one in types]
    ids: dict[Frame, int] = {}
    for node in range(1, len(tree.frames)):
        if tree.size[node]:
            stack = [ids.setdefault(frame, len(ids) + 1) for frame in tree.stack(node)]
            values = _packed(2, [tree.count[node], tree.size[node]])
            body.append(_message(_SAMPLE, _packed(1, stack) + values))
    for frame, id_ in ids.items():
        line = _number(1, id_) + _number(2, frame.line) + _number(3, frame.column)
        body.append(_message(_LOCATION, _number(1, id_) + _message(4, line)))
        name = strings.add(frame.name or "(anonymous)")
        names = _number(2, name) + _number(3, name) + _number(4, strings.add(frame.file))
        body.append(_message(_FUNCTION, _number(1, id_) + names + _number(5, frame.line)))
    body.append(_message(_PERIOD_TYPE, _value_type(strings, "space", "bytes")))
    body.append(_number(_PERIOD, period_bytes))
    body += [_message(_STRING_TABLE, text.encode("utf-8", "replace")) for text in strings.known]
    return gzip.compress(b"".join(body), mtime=0)


class _Strings:
    """The table of strings; the first is empty."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        """The number of a string."""
        return self.known.setdefault(text, len(self.known))


def _value_type(strings: _Strings, kind: str, unit: str) -> bytes:
    return _number(1, strings.add(kind)) + _number(2, strings.add(unit))


def _packed(field: int, numbers: Iterable[int]) -> bytes:
    return _message(field, b"".join(_varint(number) for number in numbers))


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
