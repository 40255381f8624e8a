"""Numbers and strings of a `.heapsnapshot`, from a block of bytes straight into columns.

Every kernel reads whole rows from `buffer[state[POS]:end]` and stops at the last complete one, so
that the caller can move the rest to the front and read on. 32 bytes behind `end` must be readable
and zero. What happened is in `state`: see
`memwatch_heap.formats.states`.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from memwatch_heap._jit import kernel
from memwatch_heap.formats.states import (
    EDGES,
    END,
    FIELD,
    FULL,
    MAX_NAME,
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
_U8, _U16, _U32, _U3 = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(3)
_U64, _U0 = np.uint64(64), np.uint64(0)


@intrinsic
def _word(context, buffer, index):
    """Eight bytes of a byte array at any index, as one little-endian number."""

    def build(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.gep(array.data, [arguments[1]])
        wide = builder.bitcast(start, ir.IntType(64).as_pointer())
        return builder.load(wide, align=1)

    return types.uint64(buffer, types.int64), build


@intrinsic
def _zeros_below(context, number):
    """How many zero bits stand below the lowest one."""

    def build(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@njit
def _eight_digits(word):
    word = (word & _LOW4) * np.uint64(2561) >> _U8
    word = (word & _PAIRS) * np.uint64(6553601) >> _U16
    return (word & _QUADS) * np.uint64(42949672960001) >> _U32


@njit
def _number(buffer, pos):
    """(value, digits) of the decimal number at pos; digits is 0 where none is, 99 beyond 2^53."""
    word = _word(buffer, pos)
    bad = ((word & _HIGH4) ^ _ZEROS) | (((word + _SIXES) & _HIGH4) ^ _ZEROS)
    if bad != _U0:
        count = _zeros_below(bad) >> _U3
        if count == _U0:
            return _U0, 0
        word = word << (_U64 - (count << _U3))
        return _eight_digits(word), np.int64(count)
    value = _eight_digits(word)
    digits = 8
    byte = buffer[pos + 8]
    while 48 <= byte <= 57:
        value = value * np.uint64(10) + np.uint64(byte - 48)
        digits += 1
        if value > MAX_INTEGER:
            return _U0, 99
        byte = buffer[pos + digits]
    return value, digits


@njit
def _blank(buffer, pos, end):
    """The place of the first byte from pos on that is no white space."""
    while pos < end and (
        buffer[pos] == 32 or buffer[pos] == 10 or buffer[pos] == 13 or buffer[pos] == 9
    ):
        pos += 1
    return pos


@njit
def _read_row(buffer, pos, end, row, fields, state):
    """Reads one row of numbers into `row`; returns the place behind its separator, or -1.

    On -1, state[STATUS] says why. A bracket behind the last number stays unread.
    """
    for field in range(fields):
        pos = _blank(buffer, pos, end)
        value, digits = _number(buffer, pos)
        if digits == 0 or digits == 99:
            state[STATUS] = MORE if pos >= end else SYNTAX
            state[FIELD] = pos
            return -1
        row[field] = value
        pos += digits
        if buffer[pos] != 44:
            pos = _blank(buffer, pos, end)
        if pos >= end:
            state[STATUS] = MORE
            return -1
        if buffer[pos] == 44:
            pos += 1
        elif buffer[pos] != 93 or field != fields - 1:
            state[STATUS] = SYNTAX
            state[FIELD] = pos
            return -1
    return pos


@njit
def _row_follows(buffer, pos, end, state):
    """The place of the next row; -1 where the array ends (POS behind it) or the block does."""
    pos = _blank(buffer, pos, end)
    if pos >= end:
        state[STATUS] = MORE
        return -1
    if buffer[pos] == 93:
        state[STATUS] = END
        state[POS] = pos + 1
        return -1
    return pos


_NODES = (
    "void(uint8[::1], int64, int64[::1], int64[::1], uint8[::1], uint32[::1], {0}[::1], {0}[::1],"
    " uint32[::1], uint8[::1], uint32[::1])"
)


@kernel(_NODES.format("uint32"), _NODES.format("uint64"))
def parse_nodes(buffer, end, state, layout, kind, name, ident, size, first_edge, detached, trace):
    """Rows of `nodes` into columns.

    layout: fields in a row, how many node types there are, the field of type, name, id,
    self_size, edge_count, and of detachedness and trace_node_id or -1. `detached` and `trace` are
    empty where the file has no such field. first_edge[i + 1] becomes the edges up to node i.
    """
    fields, kinds = layout[0], layout[1]
    row = np.zeros(fields, np.uint64)
    limit = np.uint64(0xFFFFFFFF) if ident.itemsize == 4 else MAX_INTEGER
    rows, edges, names = state[ROW], np.uint64(state[EDGES]), np.uint64(state[MAX_NAME])
    pos = state[POS]
    while True:
        here = _row_follows(buffer, pos, end, state)
        if here < 0:
            break
        if rows == kind.size:
            state[STATUS] = FULL
            break
        here = _read_row(buffer, here, end, row, fields, state)
        if here < 0:
            break
        edges += row[layout[6]]
        bad = -1
        if row[layout[2]] >= np.uint64(kinds):
            bad = layout[2]
        elif row[layout[3]] > MAX_U32:
            bad = layout[3]
        elif edges > MAX_U32:
            bad = layout[6]
        if bad >= 0:
            state[STATUS] = RANGE
            state[FIELD] = bad
            break
        if row[layout[4]] > limit or row[layout[5]] > limit:
            edges -= row[layout[6]]
            state[STATUS] = WIDE
            break
        kind[rows] = row[layout[2]]
        name[rows] = row[layout[3]]
        ident[rows] = row[layout[4]]
        size[rows] = row[layout[5]]
        first_edge[rows + 1] = edges
        names = max(names, row[layout[3]])
        if layout[7] >= 0:
            detached[rows] = row[layout[7]] & np.uint64(3)
        if layout[8] >= 0:
            trace[rows] = row[layout[8]]
        rows += 1
        pos = here
    if state[STATUS] != END:
        state[POS] = pos
    state[ROW], state[EDGES], state[MAX_NAME] = rows, edges, names


@kernel(
    "void(uint8[::1], int64, int64[::1], int64[::1], uint8[::1],"
    " uint8[::1], uint32[::1], uint32[::1])"
)
def parse_edges(buffer, end, state, layout, indexed, kind, name, to):
    """Rows of `edges` into columns.

    layout: fields in a row, how many edge types there are, the field of type, name_or_index and
    to_node, the fields of a node's row, the number of nodes. `indexed` says by type whether the
    name is a number and no string. state[MAX_NAME] becomes the greatest string that was named.
    """
    fields, kinds = layout[0], layout[1]
    row = np.zeros(fields, np.uint64)
    node_fields, nodes = np.uint64(layout[5]), np.uint64(layout[6])
    rows, names = state[ROW], np.uint64(state[MAX_NAME])
    pos = state[POS]
    while True:
        here = _row_follows(buffer, pos, end, state)
        if here < 0:
            break
        if rows == kind.size:
            state[STATUS] = FULL
            break
        here = _read_row(buffer, here, end, row, fields, state)
        if here < 0:
            break
        target = row[layout[4]] // node_fields
        bad = -1
        if row[layout[2]] >= np.uint64(kinds):
            bad = layout[2]
        elif row[layout[3]] > MAX_U32:
            bad = layout[3]
        elif target >= nodes or target * node_fields != row[layout[4]]:
            bad = layout[4]
        if bad >= 0:
            state[STATUS] = RANGE
            state[FIELD] = bad
            break
        kind[rows] = row[layout[2]]
        name[rows] = row[layout[3]]
        to[rows] = target
        if not indexed[kind[rows]]:
            names = max(names, row[layout[3]])
        rows += 1
        pos = here
    if state[STATUS] != END:
        state[POS] = pos
    state[ROW], state[MAX_NAME] = rows, names


@kernel("void(uint8[::1], int64, int64[::1], uint64[::1])")
def parse_numbers(buffer, end, state, out):
    """A flat array of numbers; rows of one field each."""
    row = np.zeros(1, np.uint64)
    rows, pos = state[ROW], state[POS]
    while True:
        here = _row_follows(buffer, pos, end, state)
        if here < 0:
            break
        if rows == out.size:
            state[STATUS] = FULL
            break
        here = _read_row(buffer, here, end, row, 1, state)
        if here < 0:
            break
        out[rows] = row[0]
        rows += 1
        pos = here
    if state[STATUS] != END:
        state[POS] = pos
    state[ROW] = rows


@njit
def _find_mark(buffer, pos, end):
    """The place of the next quote or backslash, `end` where there is none."""
    while pos + 8 <= end:
        word = _word(buffer, pos)
        quote, slash = word ^ _QUOTES, word ^ _SLASHES
        hit = ((quote - _ONES) & ~quote | (slash - _ONES) & ~slash) & _TOPS
        if hit != _U0:
            return pos + np.int64(_zeros_below(hit) >> _U3)
        pos += 8
    while pos < end and buffer[pos] != 34 and buffer[pos] != 92:
        pos += 1
    return pos


@kernel(
    "void(uint8[::1], int64, int64[::1], int64, {}[::1])".format("uint32"),
    "void(uint8[::1], int64, int64[::1], int64, {}[::1])".format("uint64"),
)
def scan_strings(buffer, end, state, offset, closing):
    """Places of the closing quotes of an array of strings, `offset` added.

    state[EDGES]: 0 where a string or the bracket may come, 1 inside a string, 2 behind a
    backslash, 3 behind a string, 4 behind a comma. state[ROW] counts the strings.
    """
    pos, row, inside = state[POS], state[ROW], state[EDGES]
    state[STATUS] = MORE
    while pos < end:
        if inside == 1:
            pos = _find_mark(buffer, pos, end)
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


@kernel("void(uint8[::1], int64, int64[::1])")
def skip_value(buffer, end, state):
    """Steps over one JSON value of any kind; state[EDGES] is the depth, state[FIELD] the mode.

    Modes: 0 between tokens, 1 inside a string, 2 behind a backslash, 3 inside a bare word.
    """
    pos, depth, mode = state[POS], state[EDGES], state[FIELD]
    state[STATUS] = MORE
    while pos < end:
        byte = buffer[pos]
        if mode == 1:
            pos = _find_mark(buffer, pos, end)
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
