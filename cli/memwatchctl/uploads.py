"""From a file, or from another controller, into a controller's store."""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memwatch_proto.chunks import CHUNK_BYTES, new_digest, read_chunks
from memwatch_proto.v1 import common_pb2
from memwatch_proto.v1.snapshots_pb2 import Chunk, Snapshot, UploadHeader, UploadSnapshotRequest
from memwatchctl.errors import FileError

if TYPE_CHECKING:
    from memwatchctl.client import Controller

Progress = Callable[[int, int], None]

#: session_{containerId}_{unixMillis}_{phase}_{isoDateTime}.heapsnapshot
_NAME = re.compile(
    r"session_(?P<id>.+)_(?P<millis>\d{12,14})_(?P<phase>[a-z0-9-]+)_[^_]+", re.ASCII
)

_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


@dataclass(frozen=True)
class Grouping:
    """What an upload belongs to; empty fields are taken from the file's name, or left empty."""

    session_id: str = ""
    phase: str = ""
    service: str = ""
    container_id: str = ""
    runtime: int = 0


def upload_file(
    controller: "Controller",
    path: Path,
    grouping: Grouping,
    on_progress: Progress = lambda _done, _total: None,
) -> Snapshot:
    """Uploads a `.heapsnapshot`, plain, gzip or zstd.

    Raises:
        FileError: it cannot be read.
        CallError: the controller does not want it.
    """
    try:
        with path.open("rb") as file:
            size, digest, start = 0, new_digest(), file.read(4)
            file.seek(0)
            while data := file.read(4 * CHUNK_BYTES):
                digest.update(data)
                size += len(data)
            header = make_header(path.name, start, size, digest.hexdigest(), grouping)
            chunks = read_chunks(file, 0, size, header.sha256)
            return controller.upload(_messages(header, chunks, on_progress))
    except OSError as error:
        raise FileError("read", path, error) from error


def make_header(
    name: str, start: bytes, size: int, sha256: str, grouping: Grouping
) -> UploadHeader:
    """The header of a file, from its name and first bytes. Pure but for the request id."""
    header = UploadHeader(
        request_id=str(uuid.uuid4()),
        file_name=name,
        content_encoding=next((word for magic, word in _MAGICS if start.startswith(magic)), ""),
        size_bytes=size,
        sha256=sha256,
        session_id=grouping.session_id,
        phase=grouping.phase,
        service=grouping.service,
        container_id=grouping.container_id,
        runtime=common_pb2.Runtime.Name(grouping.runtime),
    )
    named = _NAME.fullmatch(re.sub(r"\.heapsnapshot(\.gz|\.zst|\.zstd)?$", "", name))
    if named:
        header.phase = header.phase or named["phase"]
        header.container_id = header.container_id or named["id"]
        header.capture_time.FromMilliseconds(int(named["millis"]))
    return header


def forward(source: "Controller", snapshot: Snapshot, destination: "Controller") -> Snapshot:
    """Uploads a snapshot of one controller to another, as it is stored."""
    header = UploadHeader(
        request_id=snapshot.request_id or snapshot.id,
        file_name=snapshot.file_name,
        content_encoding="zstd",
        size_bytes=snapshot.stored_size_bytes,
        sha256=snapshot.stored_sha256,
        session_id=snapshot.session_id,
        phase=snapshot.phase,
        service=snapshot.service,
        container_id=snapshot.container_id,
        runtime=snapshot.runtime,
        capture_time=snapshot.capture_time,
    )
    chunks = source.download(snapshot.id, 0)
    return destination.upload(_messages(header, chunks, lambda _done, _total: None))


def _messages(
    header: UploadHeader, chunks: Iterable[Chunk], on_progress: Progress
) -> Iterator[UploadSnapshotRequest]:
    yield UploadSnapshotRequest(header=header)
    for chunk in chunks:
        yield UploadSnapshotRequest(chunk=chunk)
        on_progress(chunk.offset_bytes + len(chunk.data), header.size_bytes)
