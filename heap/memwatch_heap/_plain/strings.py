"""Searches in a table of strings."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _each(data: NDArray[np.uint8], closing: NDArray[Any]) -> Iterator[bytes]:
    """The text between each string's quotes."""
    low = 0
    for end in closing.tolist():
        text = data[low:end].tobytes()
        yield text[text.index(b'"') + 1 :]
        low = end + 1


def find_strings(
    data: NDArray[np.uint8],
    closing: NDArray[Any],
    needles: NDArray[np.uint8],
    ends: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    starts = [0, *ends.tolist()][: len(ends)]
    wanted: dict[bytes, list[int]] = {}
    for k, (start, end) in enumerate(zip(starts, ends.tolist(), strict=True)):
        wanted.setdefault(needles[start:end].tobytes(), []).append(k)
    for i, text in enumerate(_each(data, closing)):
        for k in wanted.get(text, ()):
            if found[k] < 0:
                found[k] = i


def strings_starting(
    data: NDArray[np.uint8], closing: NDArray[Any], first: int, flags: NDArray[np.uint8]
) -> None:
    for i, text in enumerate(_each(data, closing)):
        if text[:1] == bytes([first]):
            flags[i] = 1


def strings_with_id_after(
    data: NDArray[np.uint8],
    closing: NDArray[Any],
    text: NDArray[np.uint8],
    found: NDArray[np.uint32],
) -> int:
    pattern = re.compile(re.escape(text.tobytes()) + rb"[0-9]+\)\Z")
    hits = [i for i, string in enumerate(_each(data, closing)) if pattern.search(string)]
    found[:] = hits[: len(found)]
    return len(hits)
