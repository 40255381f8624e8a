"""Heaps that hypothesis makes, and running the same thing on kernels and on their plain twins."""

from contextlib import contextmanager

import pytest
from hypothesis import strategies as st

from memwatch_heap import _backend
from memwatch_heap.testing import EDGE_TYPES, NODE_TYPES, HeapBuilder

NODE_NAMES = (
    "Object", "Array", "User", "<div id='a'>", "(map descriptors)", "system / NativeContext",
    "(Document DOM trees)", "system / ExternalStringData", "system / JSArrayBufferData", "",
    "Detached <p class=b>",
)  # fmt: skip
EDGE_NAMES = (
    "a", "b", "c", "__proto__", "elements", "odd, name", "5", "4", "sloppy_function_map",
    *(f"{n} / part of key (K @{k}) -> value (V @7) pair in WeakMap (table @{t})"
      for n, k, t in ((1, 3, 5), (2, 3, 5), (3, 9, 5), (4, 9, 11))),
)  # fmt: skip


@contextmanager
def plain_twins():
    """Runs the plain twins instead of the kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_backend.PLAIN, "1")
        _backend.kernels.cache_clear()
        yield
    _backend.kernels.cache_clear()


@st.composite
def heaps(draw, max_nodes: int = 14) -> HeapBuilder:
    """Small heaps with everything in them that a rule is about, most of it reachable."""
    heap = HeapBuilder()
    kinds = st.sampled_from(("object", "object", "hidden", "array", "native", *NODE_TYPES))
    for _ in range(draw(st.integers(1, max_nodes))):
        heap.node(
            draw(kinds),
            draw(st.sampled_from(NODE_NAMES)),
            size=draw(st.integers(0, 40)),
            detachedness=draw(st.sampled_from((0, 0, 0, 1, 2))),
            location=draw(st.sampled_from((None, None, (1, 2, 3), (1, 2, 4)))),
        )
    node = st.integers(0, len(heap.nodes) - 1)
    for _ in range(draw(st.integers(0, 4 * max_nodes))):
        kind = draw(st.sampled_from(("property", "internal", *EDGE_TYPES)))
        numbered = kind in ("element", "hidden")
        name = draw(st.integers(0, 7) if numbered else st.sampled_from(EDGE_NAMES))
        heap.edge(draw(node), kind, name, draw(node))
    for target in draw(st.lists(node, max_size=4)):
        kind = draw(st.sampled_from(("shortcut", "element", "property")))
        heap.edge(0, kind, 1 if kind == "element" else draw(st.sampled_from(EDGE_NAMES)), target)
    return heap
