"""Builds heaps by hand, for tests: as a graph, or as the bytes of a `.heapsnapshot`.

heap = HeapBuilder()
user = heap.node("object", "User", size=32)
heap.edge(heap.root, "shortcut", "global", user)
graph = heap.graph()
"""

import io
import json
from typing import Any

from memwatch_heap.formats import read
from memwatch_heap.graph import HeapGraph

NODE_TYPES = (
    "hidden", "array", "string", "object", "code", "closure", "regexp", "number", "native",
    "synthetic", "concatenated string", "sliced string", "symbol", "bigint", "object shape",
)  # fmt: skip
EDGE_TYPES = ("context", "element", "property", "internal", "hidden", "shortcut", "weak")
NODE_FIELDS = ("type", "name", "id", "self_size", "edge_count", "detachedness")
EDGE_FIELDS = ("type", "name_or_index", "to_node")


class HeapBuilder:
    """A heap that grows node by node; node 0 is the root, ids are odd numbers as V8's."""

    def __init__(self, name: str = "by hand") -> None:
        self.name = name
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[list[tuple[str, str | int, int]]] = []
        self.locations: list[tuple[int, int, int, int]] = []
        self.header: dict[str, Any] = {}
        self._strings: dict[str, int] = {}
        self.root = self.node("synthetic", "")

    def node(
        self,
        kind: str,
        name: str,
        *,
        size: int = 0,
        node_id: int | None = None,
        detachedness: int = 0,
        location: tuple[int, int, int] | None = None,
        held_by: int | None = None,
        edge: tuple[str, str | int] = ("internal", "held"),
    ) -> int:
        """Adds a node and, with `held_by`, an edge to it; returns its number."""
        number = len(self.nodes)
        self.nodes.append(
            {
                "type": NODE_TYPES.index(kind),
                "name": self._string(name),
                "id": 2 * number + 1 if node_id is None else node_id,
                "self_size": size,
                "detachedness": detachedness,
                "trace_node_id": 0,
            }
        )
        self.edges.append([])
        if location is not None:
            self.locations.append((number, *location))
        if held_by is not None:
            self.edge(held_by, *edge, number)
        return number

    def edge(self, source: int, kind: str, name: str | int, target: int) -> None:
        """Adds an edge; its name is a number for the types element and hidden."""
        self.edges[source].append((kind, name, target))

    def text(
        self,
        *,
        node_fields: tuple[str, ...] = NODE_FIELDS,
        edge_fields: tuple[str, ...] = EDGE_FIELDS,
        newlines: bool = False,
    ) -> bytes:
        """The snapshot as V8 would write it, with any order of fields."""
        end = "\n" if newlines else ""
        nodes = [
            ",".join(str({**node, "edge_count": len(edges)}[field]) for field in node_fields) + end
            for node, edges in zip(self.nodes, self.edges, strict=True)
        ]
        edges = [
            ",".join(str(self._edge_row(edge, len(node_fields))[field]) for field in edge_fields)
            + end
            for edge in (edge for edges in self.edges for edge in edges)
        ]
        places = [
            ",".join(map(str, (row[0] * len(node_fields), *row[1:]))) + end
            for row in self.locations
        ]
        strings = [json.dumps(string) for string in self._strings]
        head = json.dumps(self._head(node_fields, edge_fields, len(edges)))
        return (
            f'{{"snapshot":{head},\n"nodes":[{",".join(nodes)}],\n"edges":[{",".join(edges)}],\n'
            f'"trace_function_infos":[],\n"trace_tree":[],\n"samples":[],\n'
            f'"locations":[{",".join(places)}],\n"strings":[{",".join(strings)}]}}'
        ).encode()

    def graph(self) -> HeapGraph:
        """The snapshot, read back."""
        return read(io.BytesIO(self.text()), name=self.name)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _edge_row(self, edge: tuple[str, str | int, int], width: int) -> dict[str, int]:
        kind, name, target = edge
        return {
            "type": EDGE_TYPES.index(kind),
            "name_or_index": name if isinstance(name, int) else self._string(name),
            "to_node": target * width,
        }

    def _head(
        self, node_fields: tuple[str, ...], edge_fields: tuple[str, ...], edges: int
    ) -> dict[str, Any]:
        node_types = ["number"] * len(node_fields)
        edge_types = ["number"] * len(edge_fields)
        meta = {
            "node_fields": node_fields,
            "node_types": [
                list(NODE_TYPES) if field == "type" else kind
                for field, kind in zip(node_fields, node_types, strict=True)
            ],
            "edge_fields": edge_fields,
            "edge_types": [
                list(EDGE_TYPES) if field == "type" else kind
                for field, kind in zip(edge_fields, edge_types, strict=True)
            ],
            "location_fields": ["object_index", "script_id", "line", "column"],
        }
        counts = {"node_count": len(self.nodes), "edge_count": edges, "trace_function_count": 0}
        return {"meta": meta, **counts, **self.header}
