import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_heap.string_table import StringTable, TextStore
from tests.heap.support import plain_twins


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=6), unique=True, max_size=12), st.lists(st.text(max_size=6)))
def test_finds_strings_by_their_text(strings, others):
    """Each string comes back by its index, and its index by the string."""
    readable = [s.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for s in strings]
    table = StringTable.of(strings)
    assert [table[i] for i in range(len(table))] == readable
    wanted = [*strings, *others]
    expected = [strings.index(text) if text in strings else -1 for text in wanted]
    assert table.find(*wanted) == expected
    with plain_twins():
        assert table.find(*wanted) == expected


def test_much_text_goes_to_a_file():
    """Beyond its limit the text is kept in an unlinked file and reads back the same."""
    pieces = [b"x" * 1000, b"y" * 5000, b"z" * 10]
    kept = {}
    for limit in (100, 1 << 20):
        store = TextStore(limit)
        for piece in pieces:
            store.add(memoryview(piece))
        kept[limit] = io.BytesIO(store.finish().tobytes()).getvalue()
    assert kept[100] == kept[1 << 20] == b"".join(pieces) + bytes(32)


def test_finds_text_however_it_is_escaped():
    r"""V8 writes \u00E9, Python \u00e9, others the letter itself: all are one string."""
    for text in (rb"caf\u00E9", rb"caf\u00e9", "caf\u00e9".encode()):
        data = np.frombuffer(bytearray(b'"x","' + text + b'"' + bytes(32)), np.uint8)
        table = StringTable(data, np.array([2, 5 + len(text)], np.uint32))
        assert table.find("x", "caf\u00e9", "y") == [0, 1, -1]
