"""Where objects were allocated, in snapshots taken while allocations were tracked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels

_FUNCTION_FIELDS = ("name", "script_name", "script_id", "line", "column")
_NODE_FIELDS = ("id", "function_info_index", "count", "size")


@dataclass(frozen=True, slots=True, eq=False)
class AllocationTraces:
    """The tree of call stacks, flat.

    Attributes:
        functions: a row per function: string of its name, string of its script, script id, line
            and column, both counted from 1 (0 where unknown).
        node_id: id of each trace node, as `HeapGraph.trace_node` has it.
        parent: the caller's place in these arrays; its own for the root.
        function: row in `functions`.
        count, bytes: what was allocated there and is still alive.
    """

    functions: NDArray[np.uint64]
    node_id: NDArray[np.uint64]
    parent: NDArray[np.uint32]
    function: NDArray[np.uint64]
    count: NDArray[np.uint64]
    bytes: NDArray[np.uint64]

    def stack(self, node_id: int) -> list[int]:
        """The functions that led to a trace node, the innermost first; empty for an unknown id."""
        found = np.flatnonzero(self.node_id == np.uint64(node_id))
        rows: list[int] = []
        if len(found):
            at = int(found[0])
            while at != int(self.parent[at]):
                rows.append(int(self.function[at]))
                at = int(self.parent[at])
        return rows


def allocation_traces(
    function_fields: tuple[str, ...],
    trace_fields: tuple[str, ...],
    numbers: NDArray[np.uint64] | None,
    tree: bytes | None,
) -> AllocationTraces | None:
    """The traces of a file; None where it has none, ValueError where they are not whole."""
    if not tree or numbers is None or not len(numbers) or tree.strip() == b"[]":
        return None
    if trace_fields[-1:] != ("children",) or not set(_NODE_FIELDS) <= set(trace_fields):
        return None
    if not set(_FUNCTION_FIELDS) <= set(function_fields):
        return None
    if len(numbers) % len(function_fields):
        raise ValueError("'trace_function_infos' ends within a row")
    rows = numbers.reshape(-1, len(function_fields))
    functions = rows[:, [function_fields.index(name) for name in _FUNCTION_FIELDS]]
    values, parent = _flat(tree, len(trace_fields) - 1)
    columns = {name: values[:, trace_fields.index(name)].copy() for name in _NODE_FIELDS}
    if len(values) and int(columns["function_info_index"].max()) >= len(functions):
        raise ValueError("'trace_tree' names a function that does not exist")
    return AllocationTraces(
        functions,
        columns["id"],
        parent,
        columns["function_info_index"],
        columns["count"],
        columns["size"],
    )


def _flat(tree: bytes, fields: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    rows = tree.count(b"[")
    values = np.zeros((rows, fields), np.uint64)
    parent = np.zeros(rows, np.uint32)
    text = np.frombuffer(bytearray(tree), np.uint8)
    count = kernels("traces").parse_tree(
        text, fields, values, parent, np.zeros(rows + 1, np.uint32)
    )
    if count < 0:
        raise ValueError("'trace_tree' is no tree of traces")
    return values[:count], parent[:count]
