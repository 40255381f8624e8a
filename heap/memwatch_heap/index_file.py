"""A file of named flat arrays and one JSON value: versioned, checksummed, mapped into memory.

Layout, little-endian: `MWHEAPIX`, version u32, length u32 and CRC-32 u32 of the JSON head, the
file's size u64, the head, then the arrays, each at a multiple of 64 bytes. The head says for each
array its dtype, length, place and CRC-32, and holds the caller's own value under "meta".
"""

import json
import mmap
import os
import re
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.errors import IndexFileError

VERSION = 3
_MAGIC = b"MWHEAPIX"
_PREFIX = struct.Struct("<8sIIIQ")
_ALIGN = 64
_NUMBERS = re.compile(r"[<|=]?[iu][1248]|[<=]?f[48]|\|b1")
# A checksum is taken in pieces, so that a mapped array need not be in memory at once.
_PIECE = 16 << 20

Arrays = Mapping[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Arrays, meta: object) -> None:
    """Writes the file under another name and moves it into place, so that nobody sees half of it.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    entries: dict[str, list[object]] = {}
    offset = 0
    for name, array in arrays.items():
        entries[name] = [array.dtype.str, len(array), offset, _checksum(array)]
        offset += _aligned(array.nbytes)
    head = json.dumps({"arrays": entries, "meta": meta}).encode()
    start = _aligned(_PREFIX.size + len(head))
    prefix = _PREFIX.pack(_MAGIC, VERSION, len(head), zlib.crc32(head), start + offset)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write((prefix + head).ljust(start, b"\0"))
            for array in arrays.values():
                file.write(np.ascontiguousarray(array).data)
                file.write(bytes(_aligned(array.nbytes) - array.nbytes))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def open_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], Any]:
    """(arrays, meta) of a file; the arrays are pages of it, read when touched.

    Raises:
        IndexFileError: it is missing, cut, of another version, or its head is damaged. The
            arrays' own checksums are for `verify`.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is empty"
        raise IndexFileError(str(path), str(reason)) from problem
    mapped.madvise(mmap.MADV_RANDOM)  # a page of rows is all over the file: reading ahead is waste
    try:
        entries, meta, start = _head(path, mapped)
        arrays = {
            name: _array(mapped, dtype, count, start + offset)
            for name, (dtype, count, offset, _) in entries.items()
        }
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as no:
        raise IndexFileError(str(path), f"its head makes no sense ({no!s:.80})") from no
    return arrays, meta


def verify(path: Path) -> None:
    """Reads the whole file and checks every array; IndexFileError names the damaged one."""
    arrays, _ = open_arrays(path)
    with path.open("rb") as file:
        head = file.read(_PREFIX.size)
        entries = json.loads(file.read(_PREFIX.unpack(head)[2]))["arrays"]
    for name, array in arrays.items():
        if _checksum(array) != entries[name][3]:
            raise IndexFileError(str(path), f"array {name!r} is damaged")


def _array(mapped: mmap.mmap, dtype: str, count: int, start: int) -> NDArray[Any]:
    """A part of the file as numbers; a few letters name their kind, so that no head is code."""
    if not _NUMBERS.fullmatch(dtype) or count < 0 or start < _PREFIX.size:
        raise ValueError(f"{count} of {dtype!r:.20} at {start}")
    if count == 0:
        return np.zeros(0, np.dtype(dtype))
    return np.frombuffer(mapped, np.dtype(dtype), count, start)


def _head(path: Path, mapped: mmap.mmap) -> tuple[dict[str, list[Any]], Any, int]:
    if len(mapped) < _PREFIX.size:
        raise IndexFileError(str(path), f"it has {len(mapped)} bytes")
    magic, version, length, checksum, size = _PREFIX.unpack(mapped[: _PREFIX.size])
    if magic != _MAGIC:
        raise IndexFileError(str(path), "it is no heap index")
    if version != VERSION:
        raise IndexFileError(str(path), f"its version is {version}, this program's is {VERSION}")
    if size != len(mapped):
        raise IndexFileError(str(path), f"it has {len(mapped)} bytes of {size}")
    head = mapped[_PREFIX.size : _PREFIX.size + length]
    if zlib.crc32(head) != checksum:
        raise IndexFileError(str(path), "its head is damaged")
    value = json.loads(head)
    return value["arrays"], value["meta"], _aligned(_PREFIX.size + length)


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def _checksum(array: NDArray[Any]) -> int:
    data = np.ascontiguousarray(array).view(np.uint8).data
    checksum = 0
    for start in range(0, len(data), _PIECE):
        checksum = zlib.crc32(data[start : start + _PIECE], checksum)
    return checksum
