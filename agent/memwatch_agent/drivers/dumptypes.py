"""Counts objects by type in a heap dump (docs/formats/heap-dump.md), without a snapshot of it.

Only the streams of nodes and strings are read, and everything is checked: a stranger wrote it.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: A stream that is longer is not counted here: 5 bytes an object, so some ten million objects.
MAX_STREAM_BYTES = 64 * 1024 * 1024

MAX_CLASSES = 1_000_000

_HEAD = struct.Struct("<cI")
_MAGIC_BYTES, _TAIL_BYTES = 9, 8
_MAX_BLOCK_BYTES = 1 << 20

_OWN_NAME, _OWN_SIZE, _NO_EDGES, _MARK = 1, 2, 4, 8

#: What objects are whose own name stands in place of their class's; by node type.
_NAMELESS = {2: "str", 4: "code", 5: "function", 7: "number"}
_SYNTHETIC = 9


class DumpError(Exception):
    """It is no heap dump that can be counted; the sentence says why."""


@dataclass
class _Class:
    type: int
    flags: int
    name: int
    size: int
    count: int = 0
    bytes: int = 0


def count(dump: int) -> list[tuple[str, int, int]]:
    """Name, count and bytes of each type.

    Raises:
        DumpError: the file is no dump, or too large.
    """
    try:
        classes = _classes(_stream(dump, b"N"))
        names = _names(_stream(dump, b"S"), {one.name for one in classes})
        found: dict[str, list[int]] = {}
        for one in classes:
            if one.type != _SYNTHETIC and one.count:
                nameless = one.flags & _OWN_NAME
                name = _NAMELESS.get(one.type, "(other)") if nameless else names[one.name]
                row = found.setdefault(name, [0, 0])
                row[0] += one.count
                row[1] += one.bytes
    except (IndexError, KeyError, struct.error, OSError) as error:
        raise DumpError(f"cannot count a heap dump: it is cut short or broken ({error})") from error
    return [(name, row[0], row[1]) for name, row in found.items()]


def _stream(dump: int, kind: bytes) -> bytes:
    found = bytearray()
    for payload in _blocks(dump, kind):
        found += payload
        if len(found) > MAX_STREAM_BYTES:
            raise DumpError(f"cannot count a heap dump: a stream has over {MAX_STREAM_BYTES} bytes")
    return bytes(found)


def _blocks(dump: int, wanted: bytes) -> Iterator[bytes]:
    end, position = os.fstat(dump).st_size - _TAIL_BYTES, _MAGIC_BYTES
    if os.pread(dump, _MAGIC_BYTES, 0) != b"MWHEAP\r\n\x01":
        raise DumpError("cannot count a heap dump: it is none of version 1")
    while position < end:
        kind, length = _HEAD.unpack(os.pread(dump, _HEAD.size, position))
        if length > _MAX_BLOCK_BYTES:
            raise DumpError(f"cannot count a heap dump: a block of {length} bytes")
        if kind == wanted:
            payload = os.pread(dump, length, position + _HEAD.size)
            if len(payload) != length:
                raise IndexError("a block")
            yield payload
        position += _HEAD.size + length


def _classes(nodes: bytes) -> list[_Class]:
    """The classes of a stream of nodes, with what there is of each."""
    classes: list[_Class] = []
    at, end = 0, len(nodes)
    while at < end:
        number, at = _number(nodes, at)
        if number == len(classes) < MAX_CLASSES:
            fields = []
            for _ in range(4):
                value, at = _number(nodes, at)
                fields.append(value)
            classes.append(_Class(*fields))
        one = classes[number]
        flags, size = one.flags, one.size
        if flags & _OWN_NAME:
            at = _after(nodes, at)
        at = _after(nodes, at)  # the id
        if flags & _OWN_SIZE:
            size, at = _number(nodes, at)
        if not flags & _NO_EDGES:
            at = _after(nodes, at)
        if flags & _MARK:
            at += 4
        one.count += 1
        one.bytes += size
    return classes


def _names(strings: bytes, wanted: set[int]) -> dict[int, str]:
    """The texts of some strings, by number."""
    found, at, number, last = {}, 0, 0, max(wanted, default=-1)
    while number <= last:
        length, at = _number(strings, at)
        if at + length > len(strings):
            raise IndexError("a string")
        if number in wanted:
            found[number] = strings[at : at + length].decode("utf-8", "replace")[:200]
        at += length
        number += 1
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number, and where it ends."""
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    value, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a number")


def _after(data: bytes, at: int) -> int:
    """Where a number ends."""
    while data[at] > 127:
        at += 1
    return at + 1
