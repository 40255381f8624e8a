"""The process that answers questions about heaps: a line of JSON in, a line of JSON out.

It maps index files and touches a few pages of each; the kernel gives the pages back. It ends
when its input does, and so with the controller.
"""

import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memwatch_controller.analysis.worker import BASE_BYTES, die_with_parent, limit_memory
from memwatch_heap.errors import HeapError, IndexFileError, UnknownNodeError
from memwatch_heap.index import HeapIndex

#: Indexes that stay open: each holds its classes in memory, the rest is mapped.
_OPEN = 8

#: Private memory for classes, pages and answers.
_MEMORY_BYTES = 512 * 1024 * 1024

#: Dominators that are listed; a chain of promises or list nodes can be as long as the heap.
_MAX_DOMINATORS = 1_000


class Answers:
    """Answers questions; keeps the last indexes open."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], HeapIndex] = OrderedDict()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer, or `failure` with `kind` "object", "index" or "other"."""
        try:
            index = self._index(question["index"], question["digest"])
            found: dict[str, Any] = getattr(self, f"_{question['ask']}")(index, question)
        except UnknownNodeError as error:
            return {"failure": str(error), "kind": "object"}
        except (IndexFileError, OSError) as error:
            return {"failure": str(error), "kind": "index"}
        except HeapError as error:
            return {"failure": str(error), "kind": "other"}
        return found

    def _index(self, path: str, digest: str) -> HeapIndex:
        index = self._open.pop((path, digest), None) or HeapIndex.open(Path(path), snapshot=digest)
        self._open[path, digest] = index
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return index

    def _heap(self, index: HeapIndex, _question: dict[str, Any]) -> dict[str, Any]:
        return {
            "node_count": index.node_count,
            "class_count": len(index.classes),
            "root": index.root,
            "statistics": asdict(index.statistics),
        }

    def _classes(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        wanted = question["filter"].casefold()
        found = [row for row in index.classes if wanted in row.name.casefold()]
        start = question["offset"]
        rows = found[start : start + question["limit"]]
        return {"rows": [asdict(row) for row in rows], "total": len(found)}

    def _objects(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        at = (question["offset"], question["limit"])
        if question["class_key"]:
            return asdict(index.objects(question["class_key"], *at))
        if question["named"]:
            return asdict(index.named(question["named"], *at))
        return asdict(index.largest(*at, by_shallow=question["by_shallow"]))

    def _dominated(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        return asdict(index.dominated(question["id"], question["offset"], question["limit"]))

    def _object(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        node = question["id"]
        return {
            "object": asdict(index.node(node)),
            "path": [asdict(step) for step in index.path(node, ignored=question["ignored"])],
            "dominators": [asdict(row) for row in index.dominators(node)[:_MAX_DOMINATORS]],
        }

    def _retainers(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        at = (question["offset"], question["limit"])
        weak, ignored = question["weak"], question["ignored"]
        return asdict(index.retainers(question["id"], *at, weak=weak, ignored=ignored))

    def _scopes(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        return _page(index.scopes, question)

    def _duplicates(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        return _page(index.duplicates, question)

    def _references(self, index: HeapIndex, question: dict[str, Any]) -> dict[str, Any]:
        return asdict(index.references(question["id"], question["offset"], question["limit"]))


def _page(rows: Sequence[Any], question: dict[str, Any]) -> dict[str, Any]:
    start = question["offset"]
    shown = rows[start : start + question["limit"]]
    return {"rows": [asdict(row) for row in shown], "total": len(rows)}


def main() -> int:
    """Answers until the input ends."""
    die_with_parent()
    limit_memory(_MEMORY_BYTES + BASE_BYTES)
    answers = Answers()
    for line in sys.stdin.buffer:
        found = json.dumps(answers.answer(json.loads(line)))
        sys.stdout.buffer.write(found.encode() + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
