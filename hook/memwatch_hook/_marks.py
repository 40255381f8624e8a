"""Marks of values: they show that an address holds another object now, without telling any value.

A dead object's address is soon taken by a new one of its class, often with all that hung on it.
What tells the two apart is the values below them. A mark is 32 bits of a hash that is salted for
each process: marks of one process compare with one another and with nothing else.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SALT = os.urandom(16)
_MASK = 0xFFFF_FFFF
MAX_LENGTH = 4096  # longer text and bytes are marked by their length and beginning
_BEGINNING = 64


def mark_of(value: Any) -> int:
    """The mark of a number; never 0, which means none."""
    return hash((SALT, value)) & _MASK or 1


def mark_of_text(value: Any) -> int:
    """The mark of a `str` or `bytes`; never 0."""
    if len(value) > MAX_LENGTH:
        return hash((SALT, len(value), value[:_BEGINNING])) & _MASK or 1
    return hash((SALT, value)) & _MASK or 1


# By the address of the exact class: only their hashes run no code of the app.
MARKS: dict[int, Callable[[Any], int]] = {
    id(str): mark_of_text,
    id(bytes): mark_of_text,
    id(int): mark_of,
    id(float): mark_of,
    id(complex): mark_of,
}
