"""A small peer of the hook wire for tests; it frames by hand, so that a change of frames shows."""

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

HELLO, REQUEST, PROGRESS, DATA, RESULT, ERROR, CANCEL = range(1, 8)


@dataclass
class Answer:
    """What a request came to: the last frame, and what was sent before it."""

    kind: int
    body: dict[str, Any]
    data: bytes = b""
    descriptor: int = -1
    progress: list[dict[str, Any]] = field(default_factory=list)


class Client:
    """One connection to a hook; `hello` is what it greeted with."""

    def __init__(self, path: Path) -> None:
        self.descriptors: list[int] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        kind, payload = self.frame()
        assert kind == HELLO
        self.hello = json.loads(payload)

    def send(self, kind: int, payload: bytes) -> None:
        """Sends one frame."""
        self.socket.sendall(struct.pack(">IB", len(payload), kind) + payload)

    def request(self, command: str, **options: Any) -> None:
        """Sends one REQUEST, with id 1."""
        self.send(REQUEST, json.dumps({"id": 1, "command": command, "options": options}).encode())

    def frame(self) -> tuple[int, bytes]:
        """The next frame; EOFError where the hook has hung up."""
        length, kind = struct.unpack(">IB", self._exactly(5))
        return kind, self._exactly(length)

    def ask(self, command: str, **options: Any) -> Answer:
        """Sends a request and reads up to its RESULT or ERROR."""
        self.request(command, **options)
        return self.answer()

    def answer(self) -> Answer:
        """Reads up to the next RESULT or ERROR."""
        data, progress = bytearray(), []
        while True:
            kind, payload = self.frame()
            if kind == DATA:
                data += payload
            elif kind == PROGRESS:
                progress.append(json.loads(payload))
            else:
                descriptor = self.descriptors.pop() if self.descriptors else -1
                return Answer(kind, json.loads(payload), bytes(data), descriptor, progress)

    def ask_dump(self, **options: Any) -> Answer:
        """Asks for a heap dump and reads the file that comes with the RESULT into `data`."""
        answer = self.ask("heap", format="dump", **options)
        if answer.descriptor >= 0:
            with open(answer.descriptor, "rb") as file:
                file.seek(0)
                answer.data = file.read()
        return answer

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece, descriptors, _, _ = socket.recv_fds(self.socket, count - len(data), 4)
            self.descriptors += descriptors
            if not piece:
                raise EOFError
            data += piece
        return data


@contextlib.contextmanager
def connected(path: Path) -> Iterator[Client]:
    """A connection for the length of the block."""
    client = Client(path)
    try:
        yield client
    finally:
        client.close()


def sockets(directory: Path, pid: int | None = None) -> list[Path]:
    """The sockets in a hook directory, of one process or of all."""
    return sorted(directory.glob(f"python-{'*' if pid is None else pid}-*.sock"))


def wait_for_sockets(directory: Path, count: int = 1, pid: int | None = None) -> list[Path]:
    """Waits until so many hooks listen, and gives their sockets."""
    deadline = time.monotonic() + 30
    while len(found := sockets(directory, pid)) < count:
        assert time.monotonic() < deadline, (
            f"{len(found)} of {count} sockets: {os.listdir(directory)}"
        )
        time.sleep(0.02)
    return found


@dataclass
class Heap:
    """A `.heapsnapshot`, parsed: what tests ask of it."""

    types: list[str]
    names: list[str]
    ids: list[int]
    sizes: list[int]
    edges: list[list[tuple[str, str | int, int]]]  # type, name or index, ordinal

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads a snapshot and checks that its counts and references hold."""
        file = json.loads(data)
        meta, strings, nodes = file["snapshot"]["meta"], file["strings"], file["nodes"]
        width = len(meta["node_fields"])
        kinds, edge_kinds = meta["node_types"][0], meta["edge_types"][0]
        assert len(nodes) == width * file["snapshot"]["node_count"]
        assert len(file["edges"]) == 3 * file["snapshot"]["edge_count"]
        rows = iter(zip(*[iter(file["edges"])] * 3, strict=True))
        edges = []
        for count in nodes[4::width]:
            own = []
            for _ in range(count):
                kind, name, to = next(rows)
                assert to % width == 0
                named = edge_kinds[kind] not in ("element", "hidden")
                own.append((edge_kinds[kind], strings[name] if named else name, to // width))
            edges.append(own)
        assert next(rows, None) is None
        return cls(
            types=[kinds[number] for number in nodes[0::width]],
            names=[strings[number] for number in nodes[1::width]],
            ids=nodes[2::width],
            sizes=nodes[3::width],
            edges=edges,
        )

    def count(self, name: str) -> int:
        """How many nodes have a name."""
        return self.names.count(name)

    def follow(self, *path: str | int) -> int:
        """The ordinal of the node that a path of edge names leads to from the root."""
        at = 0
        for step in path:
            found = [to for _, name, to in self.edges[at] if name == step]
            if not found and at == 0:
                found = [to for _, _, to in self.edges[0] if self.names[to] == step]
            assert found, (
                f"no {step!r} in {self.names[at]}: {[n for _, n, _ in self.edges[at]][:20]}"
            )
            at = found[0]
        return at
