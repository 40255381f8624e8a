"""What is fuzzed: parsers that read what somebody else wrote, each with the errors it may raise.

A target takes any bytes. It returns, or raises what no parser may raise; a hang and a memory
blow-up are for the fuzzer to see. Nothing in here knows atheris, so that a test can replay.
"""

import contextlib
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from memwatch_agent.drivers import cdp, hookwire
from memwatch_heap import index_file
from memwatch_heap.errors import IndexFileError, SnapshotError, UnknownNodeError
from memwatch_heap.formats import read
from memwatch_heap.index import HeapIndex, write_index
from memwatch_heap.measures import measure
from memwatch_heap.testing import HeapBuilder
from memwatch_hook import convert, wire

#: A snapshot may unpack to this; a bomb must stop here.
_MAX_BYTES = 4 << 20

#: Graphs beyond this are only read, not measured: a run must stay short.
_MAX_MEASURED = 2_000

_INDEX_PREFIX = struct.Struct("<8sIIIQ")


def snapshot(data: bytes) -> None:
    """The snapshot reader; what it lets through must be fit to be measured."""
    with contextlib.suppress(SnapshotError):
        graph = read(io.BytesIO(data), name="fuzzed", max_bytes=_MAX_BYTES)
        if graph.node_count <= _MAX_MEASURED:
            measure(graph)
            for node in range(min(graph.node_count, 20)):
                graph.name_of(node)


def index(data: bytes) -> None:
    """The index reader: a head with a right checksum, whatever it says, and arrays behind it."""
    head, _, arrays = data.partition(b"\0")
    with _index_of(head, arrays) as path, contextlib.suppress(IndexFileError):
        _ask(HeapIndex.open(path, snapshot="d"))
    with _file(data) as path, contextlib.suppress(IndexFileError):
        index_file.verify(path)


def agent_wire(data: bytes) -> None:
    """The agent's half of the hook wire, in pieces of odd sizes, with a request under way."""
    connection = hookwire.Connection()
    with contextlib.suppress(hookwire.WireError):
        connection.receive(_HELLO)
        connection.request("heap")
        for start in range(0, len(data), 7):
            connection.receive(data[start : start + 7])


def hook_wire(data: bytes) -> None:
    """The hook's half."""
    decoder = wire.Decoder()
    with contextlib.suppress(wire.WireError):
        for start in range(0, len(data), 7):
            for _, payload in decoder.feed(data[start : start + 7]):
                with contextlib.suppress(wire.RequestError):
                    wire.parse_request(payload)


def devtools(data: bytes) -> None:
    """What an inspector says, one message a line, and what it answers to an evaluation."""
    connection = cdp.Connection()
    connection.command("Runtime.evaluate")
    with contextlib.suppress(cdp.ProtocolError):
        for line in data.split(b"\n"):
            event = connection.receive(line)
            if isinstance(event, cdp.Reply):
                cdp.evaluated(event.result)


def heap_dump(data: bytes) -> None:
    """Both converters of heap dumps: they refuse alike, or give the same bytes."""
    found = [_converted(data, python) for python in (True, False)]
    assert found[0] == found[1], "the converters differ"


def _converted(data: bytes, python: bool) -> bytes | None:
    """A converter's snapshot; None where it refuses the dump."""
    with tempfile.TemporaryFile() as dump, tempfile.TemporaryFile() as out:
        dump.write(data)
        dump.flush()
        try:
            convert.convert(dump.fileno(), out.fileno(), python)
        except convert.ConvertError:
            return None
        out.seek(0)
        return out.read()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "heap_dump": heap_dump,
    "snapshot": snapshot,
    "index": index,
    "agent_wire": agent_wire,
    "hook_wire": hook_wire,
    "devtools": devtools,
}


def seeds(target: str) -> list[bytes]:
    """Sound inputs of a target, made here: what a fuzzer starts from."""
    return _SEEDS[target]()


def _heap() -> HeapBuilder:
    heap = HeapBuilder()
    holder = heap.node("object", "Map", size=32, held_by=heap.root)
    for number in range(3):
        heap.node("object", "Leak", size=8, held_by=holder, edge=("element", number))
    heap.node("string", "text \u00e9\ud83d\ude00", size=16, held_by=holder, edge=("weak", "7"))
    return heap


def _snapshots() -> list[bytes]:
    turned = ("id", "type", "name", "self_size", "edge_count", "trace_node_id", "detachedness")
    return [_heap().text(), _heap().text(node_fields=turned, newlines=True)]


def _indexes() -> list[bytes]:
    graph = _heap().graph()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "i"
        write_index(path, graph, measure(graph), snapshot="d")
        whole = path.read_bytes()
    length = _INDEX_PREFIX.unpack(whole[: _INDEX_PREFIX.size])[2]
    end = _INDEX_PREFIX.size + length
    return [whole[_INDEX_PREFIX.size : end] + b"\0" + whole[-(-end // 64) * 64 :], whole]


def _dumps() -> list[bytes]:
    golden = json.loads((Path(__file__).parents[1] / "vectors" / "heap_dump.json").read_text())
    return [
        bytes.fromhex(vector["hex"])
        for kind in ("dumps", "dumps_with_sites")
        for vector in golden[kind]
    ]


def _agent_frames() -> list[bytes]:
    frame, kind = hookwire.json_frame, hookwire.FrameType
    progress = frame(kind.PROGRESS, {"id": 1, "stage": "x", "done": 1, "total": 2})
    data = hookwire.frame(kind.DATA, b"abc")
    failed = frame(kind.ERROR, {"id": 1, "reason": "BUSY", "message": "no"})
    return [progress + data + frame(kind.RESULT, {"id": 1, "result": {"a": 1}}), failed]


def _requests() -> list[bytes]:
    return [wire.message(wire.REQUEST, {"id": 1, "command": "heap", "options": {"a": [1]}})]


def _messages() -> list[bytes]:
    chunk = b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"{\\"a\\""}}'
    told = b'{"method":"HeapProfiler.reportHeapSnapshotProgress","params":{"done":1,"total":2}}'
    reply = b'{"id":1,"result":{"result":{"type":"string","value":"x"}}}'
    thrown = b'{"id":1,"result":{"exceptionDetails":{"exception":{"description":"x"}}}}'
    refused = b'{"id":1,"error":{"code":-1,"message":"no"}}'
    return [chunk + b"\n" + told + b"\n" + reply, thrown, refused]


_SEEDS = {
    "heap_dump": _dumps,
    "snapshot": _snapshots,
    "index": _indexes,
    "agent_wire": _agent_frames,
    "hook_wire": _requests,
    "devtools": _messages,
}

_HELLO = hookwire.json_frame(
    hookwire.FrameType.HELLO,
    {
        "protocol": 1,
        "hook_version": "1",
        "runtime": "python",
        "runtime_version": "3",
        "pid": 1,
        "start_ticks": 1,
        "service": "s",
        "commands": ["heap"],
    },
)


def _ask(opened: HeapIndex) -> None:
    """Every question there is, of the nodes that a damaged index says to have."""
    opened.largest(0, 5)
    opened.largest(0, 5, by_shallow=True)
    for rows in ("scopes", "duplicates"):
        with contextlib.suppress(IndexFileError):  # damage in one must not hide the others'
            getattr(opened, rows)
    with contextlib.suppress(IndexFileError):
        for row in opened.classes[:3]:
            opened.objects(row.key, 0, 5)
    for node in (opened.root, 1, 3, 5):
        with contextlib.suppress(UnknownNodeError):
            opened.node(node)
            opened.dominated(node, 0, 5)
            opened.retainers(node, 0, 5, weak=True)
            opened.references(node, 0, 5)
            opened.path(node)
            opened.dominators(node)


@contextlib.contextmanager
def _index_of(head: bytes, arrays: bytes) -> Iterator[Path]:
    """A file whose prefix is right for this head."""
    start = -(-(_INDEX_PREFIX.size + len(head)) // 64) * 64
    size = start + len(arrays)
    prefix = _INDEX_PREFIX.pack(b"MWHEAPIX", index_file.VERSION, len(head), zlib.crc32(head), size)
    with _file((prefix + head).ljust(start, b"\0") + arrays) as path:
        yield path


@contextlib.contextmanager
def _file(data: bytes) -> Iterator[Path]:
    """A file in memory: a fuzzer opens thousands a second."""
    handle = os.memfd_create("fuzzed")
    try:
        os.write(handle, data)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def words() -> list[str]:
    """Words of the formats, for a fuzzer's dictionary."""
    names = json.loads(_heap().text())["snapshot"]
    keys = [*names, *names["meta"], *names["meta"]["node_fields"], *names["meta"]["edge_fields"]]
    more = ["nodes", "edges", "strings", "locations", "trace_tree", "samples", "arrays", "meta"]
    return sorted({*keys, *more, "id", "command", "options", "result", "method", "params", "chunk"})
