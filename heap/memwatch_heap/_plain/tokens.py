"""Numbers and strings of a `.heapsnapshot`, by regular expressions."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.formats.states import (
    EDGES,
    END,
    FIELD,
    FULL,
    MORE,
    POS,
    RANGE,
    ROW,
    STATUS,
    SYNTAX,
    WIDE,
)

Bytes = NDArray[np.uint8]
State = NDArray[np.int64]

_BLANK = re.compile(rb"[ \t\r\n]*")
_NUMBER = re.compile(rb"[ \t\r\n]*([0-9]+)[ \t\r\n]*")
_MAX_U32 = 0xFFFF_FFFF
_MAX_INTEGER = 1 << 53


def _row(text: bytes, at: int, fields: int) -> tuple[list[int] | None, int, int]:
    """(numbers or None, where to go on or what is odd, status) of the row at a place."""
    begin = _BLANK.match(text, at)
    at = begin.end() if begin else at
    if at >= len(text):
        return None, at, MORE
    if text[at] == ord("]"):
        return None, at + 1, END
    row: list[int] = []
    while len(row) < fields:
        found = _NUMBER.match(text, at)
        if found is None or len(found[1]) > 400 or int(found[1]) > _MAX_INTEGER:
            begin = _BLANK.match(text, at)
            at = begin.end() if begin else at
            return None, at, MORE if at >= len(text) else SYNTAX
        row.append(int(found[1]))
        at = found.end()
        if at >= len(text):
            return None, at, MORE
        if text[at] == ord(","):
            at += 1
        elif text[at] != ord("]") or len(row) < fields:
            return None, at, SYNTAX
    return row, at, MORE


def _rows(buffer: Bytes, end: int, state: State, fields: int, room: int, keep: Any) -> None:
    """Gives each complete row to `keep`, which says whether to go on."""
    start = int(state[POS])
    text = buffer[start:end].tobytes()
    at = 0
    state[STATUS] = MORE
    while state[STATUS] == MORE:
        row, behind, status = _row(text, at, fields)
        if row is None:
            state[STATUS] = status
            if status == END:
                at = behind
            if status == SYNTAX:
                state[FIELD] = start + behind
            break
        if state[ROW] == room:
            state[STATUS] = FULL
        elif keep(int(state[ROW]), row):
            state[ROW] += 1
            at = behind
    state[POS] = start + at


def _refuse(state: State, status: int, field: int) -> bool:
    state[STATUS] = status
    if status == RANGE:
        state[FIELD] = field
    return False


def parse_nodes(
    buffer: Bytes,
    end: int,
    state: State,
    layout: NDArray[np.int64],
    kind: NDArray[Any],
    name: NDArray[Any],
    ident: NDArray[Any],
    size: NDArray[Any],
    first_edge: NDArray[Any],
    detached: NDArray[Any],
    trace: NDArray[Any],
) -> None:
    fields, kinds, *places = (int(value) for value in layout)
    f_type, f_name, f_id, f_size, f_edges, f_detached, f_trace = places
    limit = np.iinfo(ident.dtype).max

    def keep(at: int, row: list[int]) -> bool:
        if row[f_type] >= kinds:
            return _refuse(state, RANGE, f_type)
        if row[f_name] > _MAX_U32:
            return _refuse(state, RANGE, f_name)
        if int(state[EDGES]) + row[f_edges] > _MAX_U32:
            return _refuse(state, RANGE, f_edges)
        if row[f_id] > limit or row[f_size] > limit:
            return _refuse(state, WIDE, 0)
        state[EDGES] += row[f_edges]
        kind[at], name[at], ident[at], size[at] = row[f_type], row[f_name], row[f_id], row[f_size]
        first_edge[at + 1] = state[EDGES]
        if f_detached >= 0:
            detached[at] = row[f_detached] & 3
        if f_trace >= 0:
            trace[at] = row[f_trace] & _MAX_U32
        return True

    _rows(buffer, end, state, fields, len(kind), keep)


def parse_edges(
    buffer: Bytes,
    end: int,
    state: State,
    layout: NDArray[np.int64],
    kind: NDArray[Any],
    name: NDArray[Any],
    to: NDArray[Any],
) -> None:
    fields, kinds, f_type, f_name, f_to, width, nodes = (int(value) for value in layout)

    def keep(at: int, row: list[int]) -> bool:
        if row[f_type] >= kinds:
            return _refuse(state, RANGE, f_type)
        if row[f_name] > _MAX_U32:
            return _refuse(state, RANGE, f_name)
        if row[f_to] % width or row[f_to] // width >= nodes:
            return _refuse(state, RANGE, f_to)
        kind[at], name[at], to[at] = row[f_type], row[f_name], row[f_to] // width
        return True

    _rows(buffer, end, state, fields, len(kind), keep)


def parse_locations(
    buffer: Bytes,
    end: int,
    state: State,
    layout: NDArray[np.int64],
    node: NDArray[Any],
    script: NDArray[Any],
    line: NDArray[Any],
    column: NDArray[Any],
) -> None:
    fields, f_object, *places, width, nodes = (int(value) for value in layout)

    def keep(at: int, row: list[int]) -> bool:
        if row[f_object] // width >= nodes:
            return _refuse(state, RANGE, f_object)
        for place, values in zip(places, (script, line, column), strict=True):
            if row[place] > _MAX_U32:
                return _refuse(state, RANGE, place)
            values[at] = row[place]
        node[at] = row[f_object] // width
        return True

    _rows(buffer, end, state, fields, len(node), keep)


def parse_numbers(buffer: Bytes, end: int, state: State, out: NDArray[np.uint64]) -> None:
    def keep(at: int, row: list[int]) -> bool:
        out[at] = row[0]
        return True

    _rows(buffer, end, state, 1, len(out), keep)


# What may come in each mode of `scan_strings`, and the mode that follows.
_SCAN = {
    0: {ord('"'): 1, ord("]"): END},
    3: {ord(","): 4, ord("]"): END},
    4: {ord('"'): 1},
}


def scan_strings(buffer: Bytes, end: int, state: State, offset: int, closing: NDArray[Any]) -> None:
    pos, mode = int(state[POS]), int(state[EDGES])
    state[STATUS] = MORE
    while pos < end and state[STATUS] == MORE:
        byte = int(buffer[pos])
        if mode == 1:
            if byte == ord('"'):
                if state[ROW] == len(closing):
                    state[STATUS] = FULL
                    break
                closing[state[ROW]] = pos + offset
                state[ROW] += 1
                mode = 3
            elif byte == ord("\\"):
                mode = 2
        elif mode == 2:
            mode = 1
        elif byte == ord("]") and mode != 4:
            state[STATUS] = END
        elif byte in _SCAN[mode]:
            mode = _SCAN[mode][byte]
        elif byte not in b" \t\r\n":
            state[STATUS] = SYNTAX
            break
        pos += 1
    state[POS], state[EDGES] = pos, mode


def skip_value(buffer: Bytes, end: int, state: State) -> None:
    pos, depth, mode = int(state[POS]), int(state[EDGES]), int(state[FIELD])
    state[STATUS] = MORE
    while pos < end and state[STATUS] == MORE:
        byte = int(buffer[pos])
        if mode == 1:
            mode = {ord('"'): 0, ord("\\"): 2}.get(byte, 1)
            if mode == 0 and depth == 0:
                state[STATUS] = END
        elif mode == 2 or byte == ord('"'):
            mode = 1
        elif byte in b"[{":
            depth, mode = depth + 1, 0
        elif byte in b",]}" and depth == 0 and mode == 3:
            state[STATUS] = END
            break
        elif byte in b"]}":
            depth, mode = depth - 1, 0
            if depth <= 0:
                state[STATUS] = END
        else:
            mode = 3
        pos += 1
    state[POS], state[EDGES], state[FIELD] = pos, depth, mode
