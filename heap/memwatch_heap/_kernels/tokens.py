"""Numbers and strings of a `.heapsnapshot`, from a block of bytes straight into columns.

Every kernel reads whole rows from `buffer[state[POS]:end]` and stops at the last complete one, so
that the caller can move the rest to the front and read on. 32 bytes behind `end` must be readable
and zero. What happened is in `state`: see
`memwatch_heap.formats.states`.
"""

import numpy as np

from memwatch_heap._jit import helper, kernel
from memwatch_heap._machine import byte as _byte
from memwatch_heap._machine import word as _word
from memwatch_heap._machine import zeros_below as _zeros_below
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

MAX_U32 = np.uint64(0xFFFFFFFF)
MAX_INTEGER = np.uint64(1 << 53)  # what a JSON number holds exactly
_LOW4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_HIGH4 = np.uint64(0xF0F0F0F0F0F0F0F0)
_ZEROS = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_PAIRS = np.uint64(0x00FF00FF00FF00FF)
_QUADS = np.uint64(0x0000FFFF0000FFFF)
_QUOTES = np.uint64(0x2222222222222222)
_SLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_U8, _U16, _U32 = np.uint64(8), np.uint64(16), np.uint64(32)
_U0 = np.uint64(0)


# The helpers below take addresses and return numbers, never arrays: an array that crosses a call
# has its references counted, which costs more than the digits.


@helper
def _eight_digits(word):
    word = (word & _LOW4) * np.uint64(2561) >> _U8
    word = (word & _PAIRS) * np.uint64(6553601) >> _U16
    return (word & _QUADS) * np.uint64(42949672960001) >> _U32


@helper
def _number(at):
    """(value, digits) of the decimal number at an address; 0 digits for none, 99 beyond 2^53."""
    word = _word(at)
    bad = ((word & _HIGH4) ^ _ZEROS) | (((word + _SIXES) & _HIGH4) ^ _ZEROS)
    if bad != _U0:
        count = _zeros_below(bad) >> 3
        if count == 0:
            return _U0, np.int64(0)
        return _eight_digits(word << np.uint64(64 - (count << 3))), count
    value = _eight_digits(word)
    digits = np.int64(8)
    byte = _byte(at + 8)
    while 48 <= byte <= 57:
        value = value * np.uint64(10) + np.uint64(byte - 48)
        digits += 1
        if value > MAX_INTEGER:
            return _U0, np.int64(99)
        byte = _byte(at + digits)
    return value, digits


@helper
def _blank(at, end):
    """The address of the first byte that is no white space."""
    while at < end:
        byte = _byte(at)
        if byte != 32 and byte != 10 and byte != 13 and byte != 9:
            break
        at += 1
    return at


# What follows a number. CUT: the block ends before that is known. ODD: neither.
_COMMA, _BRACKET, _CUT, _ODD = 0, 1, 2, 3


@helper
def _field(at, end):
    """(value, where to go on or what is odd, what follows) of the number at an address."""
    value, digits = _number(at)
    if digits == 0:
        at = _blank(at, end)
        value, digits = _number(at)
    if digits == 0 or digits == 99:
        return value, at, np.int64(_CUT if at >= end else _ODD)
    at += digits
    byte = _byte(at)
    if byte == 44:
        return value, at + 1, np.int64(_COMMA)
    at = _blank(at, end)
    if at >= end:
        return value, at, np.int64(_CUT)
    byte = _byte(at)
    if byte == 44:
        return value, at + 1, np.int64(_COMMA)
    return value, at, np.int64(_BRACKET if byte == 93 else _ODD)


@helper
def _row_follows(at, end):
    """(where, what follows): _COMMA for a number, _BRACKET, or _CUT."""
    if 48 <= _byte(at) <= 57 and at < end:
        return at, np.int64(_COMMA)
    at = _blank(at, end)
    if at >= end:
        return at, np.int64(_CUT)
    return at, np.int64(_BRACKET if _byte(at) == 93 else _COMMA)


def parse_nodes(buffer, end, state, layout, kind, name, ident, size, first_edge, detached, trace):
    """Rows of `nodes` into columns.

    layout: fields in a row, how many node types there are, the field of type, name, id,
    self_size, edge_count, and of detachedness and trace_node_id or -1. `detached` and `trace` are
    empty where the file has no such field. first_edge[i + 1] becomes the edges up to node i.
    """
    row = np.zeros(layout[0], np.uint64)
    columns = (kind, name, ident, size, first_edge, detached, trace)
    _parse_nodes(buffer, end, state, layout, *columns, row)


_NODES = (
    "uint8[], int64, int64[], int64[], uint8[], uint32[], {0}[], {0}[], uint32[], uint8[],"
    " uint32[], uint64[]"
)


@kernel(_NODES.format("uint32"), _NODES.format("uint64"))
def _parse_nodes(
    buffer, end, state, layout, kind, name, ident, size, first_edge, detached, trace, row
):
    fields, kinds = layout[0], np.uint64(layout[1])
    f_type, f_name, f_id, f_size, f_edges = layout[2], layout[3], layout[4], layout[5], layout[6]
    f_detached, f_trace = layout[7], layout[8]
    limit = MAX_U32 if ident.itemsize == 4 else MAX_INTEGER
    rows, edges = state[ROW], np.uint64(state[EDGES])
    base = np.int64(buffer.ctypes.data)
    stop = base + end
    done = base + state[POS]
    status = np.int64(MORE)
    while True:
        at, follows = _row_follows(done, stop)
        if follows != _COMMA:
            if follows == _BRACKET:
                status = END
                done = at + 1
            break
        if rows == kind.size:
            status = FULL
            break
        for field in range(fields):
            value, at, follows = _field(at, stop)
            row[field] = value
            if follows != _COMMA:
                break
        if follows == _CUT:
            break
        if follows == _ODD or field != fields - 1:
            status = SYNTAX
            state[FIELD] = at - base
            break
        total = edges + row[f_edges]
        if row[f_type] >= kinds or row[f_name] > MAX_U32 or total > MAX_U32:
            status = RANGE
            state[FIELD] = (
                f_type if row[f_type] >= kinds else f_name if row[f_name] > MAX_U32 else f_edges
            )
            break
        if row[f_id] > limit or row[f_size] > limit:
            status = WIDE
            break
        kind[rows] = row[f_type]
        name[rows] = row[f_name]
        ident[rows] = row[f_id]
        size[rows] = row[f_size]
        edges = total
        first_edge[rows + 1] = edges
        if f_detached >= 0:
            detached[rows] = row[f_detached] & np.uint64(3)
        if f_trace >= 0:
            trace[rows] = row[f_trace]
        rows += 1
        done = at
    state[STATUS], state[POS], state[ROW], state[EDGES] = status, done - base, rows, edges


def parse_edges(buffer, end, state, layout, kind, name, to):
    """Rows of `edges` into columns.

    layout: fields in a row, how many edge types there are, the field of type, name_or_index and
    to_node, the fields of a node's row, the number of nodes.
    """
    row = np.zeros(layout[0], np.uint64)
    _parse_edges(buffer, end, state, layout, kind, name, to, row)


@kernel("uint8[], int64, int64[], int64[], uint8[], uint32[], uint32[], uint64[]")
def _parse_edges(buffer, end, state, layout, kind, name, to, row):
    fields, kinds = layout[0], np.uint64(layout[1])
    f_type, f_name, f_to = layout[2], layout[3], layout[4]
    node_fields, nodes = np.uint64(layout[5]), np.uint64(layout[6])
    share = 1.0 / layout[5]
    rows = state[ROW]
    base = np.int64(buffer.ctypes.data)
    stop = base + end
    done = base + state[POS]
    status = np.int64(MORE)
    while True:
        at, follows = _row_follows(done, stop)
        if follows != _COMMA:
            if follows == _BRACKET:
                status = END
                done = at + 1
            break
        if rows == kind.size:
            status = FULL
            break
        for field in range(fields):
            value, at, follows = _field(at, stop)
            row[field] = value
            if follows != _COMMA:
                break
        if follows == _CUT:
            break
        if follows == _ODD or field != fields - 1:
            status = SYNTAX
            state[FIELD] = at - base
            break
        target = np.uint64(np.float64(row[f_to]) * share + 0.5)  # a division costs more
        if (
            row[f_type] >= kinds
            or row[f_name] > MAX_U32
            or target >= nodes
            or target * node_fields != row[f_to]
        ):
            status = RANGE
            state[FIELD] = (
                f_type if row[f_type] >= kinds else f_name if row[f_name] > MAX_U32 else f_to
            )
            break
        kind[rows] = row[f_type]
        name[rows] = row[f_name]
        to[rows] = target
        rows += 1
        done = at
    state[STATUS], state[POS], state[ROW] = status, done - base, rows


@kernel("uint8[], int64, int64[], uint64[]")
def parse_numbers(buffer, end, state, out):
    """A flat array of numbers."""
    rows = state[ROW]
    base = np.int64(buffer.ctypes.data)
    stop = base + end
    done = base + state[POS]
    status = np.int64(MORE)
    while True:
        at, follows = _row_follows(done, stop)
        if follows != _COMMA:
            if follows == _BRACKET:
                status = END
                done = at + 1
            break
        if rows == out.size:
            status = FULL
            break
        value, at, follows = _field(at, stop)
        if follows == _CUT:
            break
        if follows == _ODD:
            status = SYNTAX
            state[FIELD] = at - base
            break
        out[rows] = value
        rows += 1
        done = at
    state[STATUS], state[POS], state[ROW] = status, done - base, rows


@helper
def _find_mark(at, end):
    """The address of the next quote or backslash, `end` where there is none."""
    while at + 8 <= end:
        word = _word(at)
        quote, slash = word ^ _QUOTES, word ^ _SLASHES
        hit = ((quote - _ONES) & ~quote | (slash - _ONES) & ~slash) & _TOPS
        if hit != _U0:
            return at + (_zeros_below(hit) >> 3)
        at += 8
    while at < end and _byte(at) != 34 and _byte(at) != 92:
        at += 1
    return at


_STRINGS = "uint8[], int64, int64[], int64, {}[]"


@kernel(_STRINGS.format("uint32"), _STRINGS.format("uint64"))
def scan_strings(buffer, end, state, offset, closing):
    """Places of the closing quotes of an array of strings, `offset` added.

    state[EDGES]: 0 where a string or the bracket may come, 1 inside a string, 2 behind a
    backslash, 3 behind a string, 4 behind a comma. state[ROW] counts the strings.
    """
    pos, row, inside = state[POS], state[ROW], state[EDGES]
    base = np.int64(buffer.ctypes.data)
    state[STATUS] = MORE
    while pos < end:
        if inside == 1:
            pos = _find_mark(base + pos, base + end) - base
            if pos == end:
                break
            if buffer[pos] == 92:
                inside = 2
            else:
                if row == closing.size:
                    state[STATUS] = FULL
                    break
                closing[row] = pos + offset
                row += 1
                inside = 3
            pos += 1
        elif inside == 2:
            inside = 1
            pos += 1
        else:
            byte = buffer[pos]
            if byte == 34 and inside != 3:
                inside = 1
            elif byte == 44 and inside == 3:
                inside = 4
            elif byte == 93 and inside != 4:
                state[STATUS] = END
                pos += 1
                break
            elif byte != 32 and byte != 10 and byte != 13 and byte != 9:
                state[STATUS] = SYNTAX
                break
            pos += 1
    state[POS], state[ROW], state[EDGES] = pos, row, inside


@kernel("uint8[], int64, int64[]")
def skip_value(buffer, end, state):
    """Steps over one JSON value of any kind; state[EDGES] is the depth, state[FIELD] the mode.

    Modes: 0 between tokens, 1 inside a string, 2 behind a backslash, 3 inside a bare word.
    """
    pos, depth, mode = state[POS], state[EDGES], state[FIELD]
    base = np.int64(buffer.ctypes.data)
    state[STATUS] = MORE
    while pos < end:
        byte = buffer[pos]
        if mode == 1:
            pos = _find_mark(base + pos, base + end) - base
            if pos == end:
                break
            mode = 2 if buffer[pos] == 92 else 0
            done = mode == 0 and depth == 0
        elif mode == 2 or byte == 34:
            mode, done = 1, False
        elif byte == 91 or byte == 123:
            depth += 1
            mode, done = 0, False
        elif depth == 0 and mode == 3 and (byte == 44 or byte == 93 or byte == 125):
            state[STATUS] = END
            break
        elif byte == 93 or byte == 125:
            depth -= 1
            mode, done = 0, depth <= 0
        else:
            mode, done = 3, False
        pos += 1
        if done:
            state[STATUS] = END
            break
    state[POS], state[EDGES], state[FIELD] = pos, depth, mode
