"""Names of edges to a WeakMap's values: V8 writes each value twice, under its key and its table."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.graph import U32, HeapGraph

_NAME = re.compile(
    r"[0-9]+( / part of key \([^\n\r\u2028\u2029]*? @[0-9]+\) -> value"
    r" \([^\n\r\u2028\u2029]*? @[0-9]+\) pair in WeakMap \(table @([0-9]+)\))"
)
_MARK = b"pair in WeakMap (table @"


@dataclass(frozen=True, slots=True)
class WeakMapNames:
    """Per string, what it says about a WeakMap; both arrays are empty where no string does.

    Attributes:
        table_of: the table's id, 0 for other strings.
        pair_of: a number from 1 that the two names of one value share, 0 for other strings.
        pairs: how many such numbers there are.
    """

    table_of: NDArray[np.uint64]
    pair_of: U32
    pairs: int


def weak_map_names(graph: HeapGraph) -> WeakMapNames:
    """Finds the names that V8 gives to a WeakMap's values."""
    strings = graph.strings
    mark = np.frombuffer(bytearray(_MARK), np.uint8)
    found = np.empty(0, np.uint32)
    while True:
        search = kernels("strings").strings_with_id_after
        count = int(search(strings.data, strings.closing, mark, found))
        if count <= len(found):
            break
        found = np.empty(count, np.uint32)
    if not count:
        return WeakMapNames(np.zeros(0, np.uint64), np.zeros(0, np.uint32), 0)
    table_of = np.zeros(len(strings), np.uint64)
    pair_of = np.zeros(len(strings), np.uint32)
    numbers: dict[str, int] = {}
    for index in found[:count]:
        match = _NAME.fullmatch(strings[int(index)])
        if match and len(match[2]) <= 19:
            table_of[index] = int(match[2])
            pair_of[index] = numbers.setdefault(match[1], len(numbers) + 1)
    return WeakMapNames(table_of, pair_of, len(numbers))
