"""What a heap is made of, in the parts of DevTools' Statistics view."""

from dataclasses import dataclass

import numpy as np

from memwatch_heap._backend import kernels
from memwatch_heap.graph import HeapGraph
from memwatch_heap.measures import Measures

_TEXT = ("string", "concatenated string", "sliced string")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Bytes.

    Attributes:
        total: all of the heap, with the native memory that the header reports.
        native: outside V8's heap; typed_arrays is a part of it.
        code, strings, js_arrays, system: parts of V8's heap; the rest of it is objects.
    """

    total: int
    native: int
    typed_arrays: int
    code: int
    strings: int
    js_arrays: int
    system: int

    @property
    def v8_heap(self) -> int:
        """All that is not native."""
        return self.total - self.native

    def as_devtools(self) -> dict[str, object]:
        """In DevTools' own shape."""
        return {
            "total": self.total,
            "native": {"total": self.native, "typedArrays": self.typed_arrays},
            "v8heap": {
                "total": self.v8_heap,
                "code": self.code,
                "jsArrays": self.js_arrays,
                "strings": self.strings,
                "system": self.system,
            },
        }


def statistics(graph: HeapGraph, measures: Measures) -> Statistics:
    """The statistics of a measured heap."""
    sizes = measures.sizes
    by_type = np.zeros(256, np.int64)
    _, totals = kernels("classes").sum_by(graph.node_type.astype(np.uint32), sizes, 256)
    by_type[:] = totals
    buffers, array, elements = graph.strings.find("system / JSArrayBufferData", "Array", "elements")
    native = graph.node_type == graph.node_code("native")
    data = native & (graph.node_name == np.uint32(max(buffers, 0))) & (measures.detached == 0)
    return Statistics(
        total=int(measures.retained[graph.root]) + graph.extra_native_bytes,
        native=int(by_type[graph.node_code("native")]) + graph.extra_native_bytes,
        typed_arrays=int(sizes[data].sum()) if buffers >= 0 else 0,
        code=int(by_type[graph.node_code("code")]),
        strings=sum(int(by_type[graph.node_code(kind)]) for kind in _TEXT),
        js_arrays=_arrays(graph, measures, array, elements) if array >= 0 else 0,
        system=int(by_type[graph.node_code("hidden")]),
    )


def _arrays(graph: HeapGraph, measures: Measures, array: int, elements: int) -> int:
    """Bytes of arrays and of the elements that one array alone refers to."""
    other = np.zeros(256, bool)
    other[[graph.node_code(kind) for kind in ("hidden", "native", "code", *_TEXT)]] = True
    arrays = np.flatnonzero(graph.node_name == np.uint32(array))
    arrays = arrays[~other[graph.node_type[arrays]]]
    total: int = kernels("classes").array_bytes(
        graph.first_edge,
        graph.edge_type,
        graph.edge_name,
        graph.edge_to,
        arrays.astype(np.uint32),
        graph.edge_code("internal"),
        elements,
        measures.sizes,
    )
    return total
