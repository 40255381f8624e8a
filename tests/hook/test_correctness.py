"""A snapshot holds exactly what Python itself can reach, on every interpreter.

The judge is tests/apps/hook/closure.py: before the hook starts it writes down every object that the
collector knows or knew before `gc.freeze()`, and all that these keep alive.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hook.client import Heap, connected, wait_for_sockets
from tests.hook.conftest import hook_environment, interpreter
from tests.support import processes, runtimes

APP = Path(__file__).parents[1] / "apps" / "hook" / "closure.py"

# Of all objects, so many may be missing, or there beyond the truth: what changed while it was told.
TOLERANCE = 0.001

# What starting the hook leaves in the interpreter's own tables, whatever the heap: weak references
# of `object` to the hook's classes, names that it interned. They are not told apart from the app's.
HOOK_TRACES = 250

# Whose sizes are not those of sys.getsizeof, from 3.13 on: ctypes' classes are counted without
# their format text.
OTHER_SIZES = {
    "_ctypes.PyCSimpleType",
    "_ctypes.PyCFuncPtrType",
    "_ctypes.PyCPointerType",
    "ctypes._endian._swapped_struct_meta",
    "ctypes._endian._swapped_union_meta",
}

# What holds others without telling under which name: C objects whose members have none, and the
# group of what C code holds. All else is named.
NAMELESS = {
    "(attribute names)",
    "(unknown holders)",
    "ValueError",
    "_abc._abc_data",
    "_asyncio.Future",
    "_asyncio.FutureIter",
    "builtin_function_or_method",
    "builtin_method",
    "coroutine",
    "frame",
    "functools._lru_cache_wrapper",
    "generator",
    "list_iterator",
    "managedbuffer",
    "mappingproxy",
    "memoryview",
    "module",
    "property",
    "type",
}

# Classes of which guppy itself makes no objects, whose counts and sizes must be the same.
SHARED_WITH_GUPPY = (
    "__main__.Plain",
    "__main__.Child",
    "__main__.Slotted",
    "__main__.Wide",
    "__main__.Bag",
    "__main__.Row",
    "__main__.Named",
    "__main__.Data",
    "collections.Counter",
    "collections.ChainMap",
    "collections.OrderedDict",
    "collections.defaultdict",
    "complex",
    "datetime.datetime",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    "weakref.KeyedRef",
)
ROUGHLY_WITH_GUPPY = ("int", "float", "list")


@dataclass
class Case:
    """One interpreter's snapshot, and what it must hold.

    `truth` and `nodes` are by address / 16, which is what an id tells: size and class, node.
    """

    minor: str
    heap: Heap
    data: bytes
    truth: dict[int, tuple[int, str]]
    nodes: dict[int, int]
    guppy: dict[str, tuple[int, int]]


@pytest.fixture(scope="module", params=runtimes.PYTHON_MINORS)
def case(request, tmp_path_factory) -> Case:
    """closure.py under one interpreter, captured by the C walker."""
    minor = request.param
    python = interpreter(minor)
    folder = tmp_path_factory.mktemp("closure")
    env = {"MEMWATCH_HOOK_DIR": str(folder), **hook_environment("c")}
    # The app starts the hook itself, once the truth is written: no bootstrap.
    env["PYTHONPATH"] = ":".join([env["PYTHONPATH"].split(":")[1], str(runtimes.peers(minor))])
    log = folder / "log"
    with processes.running([python, APP, folder], env=env, log=log) as target:
        processes.wait_until(lambda: log.exists() and b"ready" in log.read_bytes(), 60)
        with connected(wait_for_sockets(folder, pid=target.pid)[0]) as client:
            answer = client.ask("heap", gc=False)
        (folder / "go").touch()
        processes.wait_until(lambda: b"done" in log.read_bytes(), 60)
    assert "result" in answer.body, answer.body
    heap = Heap.parse(answer.data)
    chunks = json.loads((folder / "chunks.json").read_text())
    guppy = folder / "guppy.json"
    return Case(
        minor,
        heap,
        answer.data,
        truth_of(folder / "truth"),
        {(chunks[(i >> 16) - 1] << 16) | i & 0xFFFF: n for n, i in enumerate(heap.ids) if i >> 16},
        json.loads(guppy.read_text()) if guppy.exists() else {},
    )


def truth_of(path: Path) -> dict[int, tuple[int, str]]:
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return {int(address) >> 4: (int(size), name) for address, size, name in rows}


def test_every_object_is_there(case):
    """Of the closure of the collector's objects and the frozen ones at most 0.1 % is missing."""
    missing = Counter(case.truth[at][1] for at in case.truth.keys() - case.nodes.keys())
    assert missing.total() <= TOLERANCE * len(case.truth), missing.most_common(10)
    assert len(case.truth) > 100_000


def test_nothing_else_is_there(case):
    """At most 0.1 % is beyond the closure, but for what only C code shows."""
    heap, extra = case.heap, case.nodes.keys() - case.truth.keys()
    unseen = {to for _, _, to in heap.edges[heap.follow("(attribute names)")]}
    for node in [number for number, kind in enumerate(heap.types) if kind == "code"]:
        for _, _, part in heap.edges[node]:  # names of variables: Python shows a copy only
            unseen.update([part, *(to for _, _, to in heap.edges[part])])
    found = [case.nodes[at] for at in extra]
    beyond = Counter(heap.names[node] for node in found if node not in unseen)
    del beyond["moduledef"]  # a C module's definition, which nothing in Python shows
    allowed = TOLERANCE * len(case.truth) + HOOK_TRACES
    assert beyond.total() <= allowed, beyond.most_common(10)


def test_sizes_are_those_of_getsizeof(case):
    """Sizes are equal but for a short list of classes, and for what grew meanwhile."""
    wrong = Counter(
        case.truth[at][1]
        for at in case.truth.keys() & case.nodes.keys()
        if case.truth[at][0] != case.heap.sizes[case.nodes[at]]
    )
    grown = {name: count for name, count in wrong.items() if name not in OTHER_SIZES}
    assert sum(grown.values()) <= 5, grown
    assert case.minor in ("3.13", "3.14") or not wrong.keys() & OTHER_SIZES, wrong


def test_edges_are_named(case):
    """99 % of edges have a name or an index; who has others is a short list of C classes."""
    heap = case.heap
    nameless = Counter(
        name
        for name, edges in zip(heap.names, heap.edges, strict=True)
        for kind, label, _ in edges
        if (kind, label) == ("internal", "ref")
    )
    assert nameless.total() <= 0.015 * sum(map(len, heap.edges))
    many = {name: count for name, count in nameless.items() if count > 100}
    assert many.keys() <= NAMELESS, many


def test_guppy_counts_the_same(case):
    """guppy3 finds as many objects of each class, and the same sizes."""
    if not case.guppy:
        pytest.skip(f"guppy3 is not installed for {case.minor}: python -m tests.support.runtimes")
    sizes: Counter[str] = Counter()
    for name, size in zip(case.heap.names, case.heap.sizes, strict=True):
        sizes[name] += size
    counts = Counter(case.heap.names)
    for name in SHARED_WITH_GUPPY:
        assert (counts[name], sizes[name]) == tuple(case.guppy[name]), name
    for name in ROUGHLY_WITH_GUPPY:
        assert counts[name] == pytest.approx(case.guppy[name][0], rel=0.15), name
