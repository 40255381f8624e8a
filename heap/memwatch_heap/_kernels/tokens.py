"""Numbers and strings of a `.heapsnapshot`, from a block of bytes straight into columns.

Every kernel reads whole rows from `buffer[state[POS]:end]` and stops at the last complete one, so
that the caller can move the rest to the front and read on. 64 bytes behind `end` must be readable
and zero. What happened is in `state`: see
`memwatch_heap.formats.states`.
"""

import numpy as np

from memwatch_heap._jit import helper, kernel
from memwatch_heap._machine import byte as _byte
from memwatch_heap._machine import no_digits as _no_digits
from memwatch_heap._machine import no_digits_32 as _no_digits_32
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
_U0, _U1 = np.uint64(0), np.uint64(1)


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


# The quick way reads a row as V8 writes it: numbers with a comma between, in at most 64 bytes.
# Where its numbers end is known for all of them at once, so the next row need not wait for the
# last number of this one. What looks otherwise goes the slow way.

_WINDOW = 64


@helper
def _digits(at, length):
    """The value of 1 to 15 digits at an address."""
    if length <= 8:
        return _eight_digits(_word(at) << np.uint64((64 - (length << 3)) & 63))
    more = _word(at) << np.uint64((128 - (length << 3)) & 63)
    return _eight_digits(more) * np.uint64(100000000) + _eight_digits(_word(at + length - 8))


@helper
def _between(at, gap):
    """Whether a comma (gap 1), or a line's end and a comma (gap 2), stand at an address."""
    if gap == 1:
        return _byte(at) == 44
    return _byte(at) == 10 and _byte(at + 1) == 44


@helper
def _quick_row(at, fields, row, gap):
    """The address behind a row of numbers, which go into `row`; 0 where it is not usual."""
    ends = _no_digits(at)
    begin = np.int64(0)
    odd = np.int64(0)
    for field in range(fields):
        if field:
            odd |= (_byte(at + begin - 1) ^ 44) << 4
        end = _zeros_below(ends)
        ends &= ends - _U1
        odd |= (end - begin - 1) | (end - begin)  # 1 to 15
        row[field] = _digits(at + begin, (end - begin) & 15)
        begin = end + 1
    if odd & ~np.int64(15) or not _between(at + begin - 1, gap):
        return np.int64(0)
    return at + begin - 1 + gap


@helper
def _quick_edge(at, row, gap):
    """The same for three numbers of which the first has mostly one digit: edges."""
    ends = _no_digits_32(at)
    first = _zeros_below(ends)
    ends &= ends - _U1
    second = _zeros_below(ends)
    ends &= ends - _U1
    third = _zeros_below(ends)
    odd = ((_byte(at + first) ^ 44) | (_byte(at + second) ^ 44)) << 4
    odd |= (first - 1) | first
    odd |= (second - first - 2) | (second - first - 1)
    odd |= (third - second - 2) | (third - second - 1)
    if odd & ~np.int64(15) or not _between(at + third, gap):
        return np.int64(0)
    row[0] = np.uint64(_byte(at) - 48) if first == 1 else _digits(at, first)
    row[1] = _digits(at + first + 1, second - first - 1)
    row[2] = _digits(at + second + 1, third - second - 1)
    return at + third + gap


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


# A row is complete: what `_careful_row` says beside the states of `formats.states`.
_READ = 100


@helper
def _careful_row(at, end, fields, row):
    """(where to go on or what is odd, _READ, MORE, END or SYNTAX) of the row at an address."""
    at, follows = _row_follows(at, end)
    if follows != _COMMA:
        return (at + 1, np.int64(END)) if follows == _BRACKET else (at, np.int64(MORE))
    for field in range(fields):
        value, at, follows = _field(at, end)
        row[field] = value
        if follows != _COMMA:
            break
    if follows == _CUT:
        return at, np.int64(MORE)
    if follows == _ODD or field != fields - 1:
        return at, np.int64(SYNTAX)
    return at, np.int64(_READ)


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
    status, gap = np.int64(MORE), 1
    while True:
        at = np.int64(0)
        if done + _WINDOW <= stop:
            at = _quick_row(done, fields, row, gap)
        if at == 0:
            at, status = _careful_row(done, stop, fields, row)
            if status != _READ:
                if status == END:
                    done = at
                elif status == SYNTAX:
                    state[FIELD] = at - base
                break
            gap = 2 if _byte(at - 2) == 10 else 1
        if rows == kind.size:
            status = FULL
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
    usual = fields == 3
    rows = state[ROW]
    base = np.int64(buffer.ctypes.data)
    stop = base + end
    done = base + state[POS]
    status, gap = np.int64(MORE), 1
    while True:
        at = np.int64(0)
        if usual and done + _WINDOW <= stop:
            at = _quick_edge(done, row, gap)
        if at == 0:
            at, status = _careful_row(done, stop, fields, row)
            if status != _READ:
                if status == END:
                    done = at
                elif status == SYNTAX:
                    state[FIELD] = at - base
                break
            gap = 2 if _byte(at - 2) == 10 else 1
        if rows == kind.size:
            status = FULL
            break
        # a division costs more
        target = np.uint64(np.int64(np.float64(np.int64(row[f_to])) * share + 0.5))
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


def parse_locations(buffer, end, state, layout, node, script, line, column):
    """Rows of `locations` into columns.

    layout: fields in a row, the field of object_index, script_id, line and column, the fields of
    a node's row, the number of nodes.
    """
    row = np.zeros(layout[0], np.uint64)
    _parse_locations(buffer, end, state, layout, node, script, line, column, row)


@kernel(
    "uint8[], int64, int64[], int64[], uint32[], uint32[], uint32[], uint32[], uint64[]",
)
def _parse_locations(buffer, end, state, layout, node, script, line, column, row):
    fields, f_object, f_script, f_line, f_column = (
        layout[0],
        layout[1],
        layout[2],
        layout[3],
        layout[4],
    )
    node_fields, nodes = np.uint64(layout[5]), np.uint64(layout[6])
    rows = state[ROW]
    base = np.int64(buffer.ctypes.data)
    stop = base + end
    done = base + state[POS]
    status, gap = np.int64(MORE), 1
    while True:
        at = np.int64(0)
        if done + _WINDOW <= stop:
            at = _quick_row(done, fields, row, gap)
        if at == 0:
            at, status = _careful_row(done, stop, fields, row)
            if status != _READ:
                if status == END:
                    done = at
                elif status == SYNTAX:
                    state[FIELD] = at - base
                break
            gap = 2 if _byte(at - 2) == 10 else 1
        if rows == node.size:
            status = FULL
            break
        target = row[f_object] // node_fields
        odd = np.int64(-1)
        if target >= nodes:
            odd = f_object
        elif row[f_script] > MAX_U32:
            odd = f_script
        elif row[f_line] > MAX_U32:
            odd = f_line
        elif row[f_column] > MAX_U32:
            odd = f_column
        if odd >= 0:
            status = RANGE
            state[FIELD] = odd
            break
        node[rows] = target
        script[rows] = row[f_script]
        line[rows] = row[f_line]
        column[rows] = row[f_column]
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
