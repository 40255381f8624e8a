"""Finds strings by a part of them, in the text of the snapshot as it is."""

import json
import re

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.string_table import StringTable


def strings_holding(strings: StringTable, text: str, limit: int) -> NDArray[np.uint32]:
    """The strings that hold a text, whatever the case, in their order; none for an empty text.

    At most `limit` of them. A character that the file writes as an escape is found where it is
    written the way V8 does it.
    """
    if not text:
        return np.zeros(0, np.uint32)
    escaped = json.dumps(text)[1:-1].encode()
    plain = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    needles = b"|".join(re.escape(needle) for needle in dict.fromkeys((escaped, plain)))
    found: list[int] = []
    last = -1
    for hit in re.finditer(needles, strings.data.data, re.IGNORECASE):
        string = int(np.searchsorted(strings.closing, strings.closing.dtype.type(hit.end())))
        if string != last and _is_inside(strings, string, hit.start()):
            found.append(last := string)
            if len(found) == limit:
                break
    return np.array(found, np.uint32)


def _is_inside(strings: StringTable, string: int, start: int) -> bool:
    """Whether a hit lies between the quotes of one string."""
    if string >= len(strings):
        return False
    before = int(strings.closing[string - 1]) if string else -1
    opening = bytes(strings.data[before + 1 : start]).find(b'"')
    return opening >= 0
