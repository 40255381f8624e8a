"""Reports of kind `sampling`: V8's sampling heap profile, as `.heapprofile` files have it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memwatch_controller.profiles.rendering import stackreports
from memwatch_controller.profiles.rendering.stacks import Frame, Tree

#: Nodes of one profile; V8's stacks are at most some hundred deep.
_MAX_NODES = 2_000_000


def read(path: Path) -> tuple[Tree, int]:
    """The tree of a profile, and the mean bytes between two samples.

    Raises:
        ValueError: it is no such profile.
    """
    with path.open("rb") as file:
        found = json.load(file)
    if not isinstance(found, dict) or not isinstance(found.get("head"), dict):
        raise ValueError("the artifact is no V8 sampling heap profile: it has no 'head'")
    samples = found.get("samples")
    counts = Counter(int(one["nodeId"]) for one in samples) if isinstance(samples, list) else {}
    tree = Tree()
    waiting: list[tuple[int, Mapping[str, Any]]] = [(0, found["head"])]
    while waiting:
        parent, node = waiting.pop()
        count = counts.get(int(node.get("id", -1)), 0)
        at = tree.add(parent, _frame(node["callFrame"]), int(node["selfSize"]), count)
        if at > _MAX_NODES:
            raise ValueError(f"the artifact has more than {_MAX_NODES} stacks")
        waiting += [(at, child) for child in node.get("children", ())]
    return tree, int(found.get("samplingInterval") or 1)


def _frame(told: Mapping[str, Any]) -> Frame:
    line, column = int(told.get("lineNumber", -1)) + 1, int(told.get("columnNumber", -1)) + 1
    return Frame(str(told["functionName"]), str(told.get("url", "")), line, column)


RENDERERS = stackreports.renderers(read, "Sampled allocations that are still alive")
