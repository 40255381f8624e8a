"""SnapshotService: metadata, bytes out, bytes in."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import google_crc32c

from memwatch_controller import model
from memwatch_controller.api import convert_snapshots as convert
from memwatch_controller.api import fields
from memwatch_controller.api.status import streaming, unary
from memwatch_controller.errors import BlobLostError, DigestMismatchError
from memwatch_controller.snapshots.service import Snapshots, Upload
from memwatch_controller.store.intake import Encoding
from memwatch_controller.upkeep import Upkeep
from memwatch_proto.chunks import ChunkError, checked_data, new_digest
from memwatch_proto.v1 import snapshots_pb2 as pb
from memwatch_proto.v1 import snapshots_pb2_grpc


class SnapshotLists(Protocol):
    """Lists snapshots; `store.metadata.Metadata` does."""

    async def list_snapshots(
        self,
        *,
        session_id: str = "",
        target_id: str = "",
        limit: int,
        after: tuple[model.Millis, str] | None = None,
    ) -> list[model.Snapshot]:
        """Snapshots, the newest first."""


class SnapshotServicer(snapshots_pb2_grpc.SnapshotServiceServicer):
    """Answers SnapshotService; snapshots.proto says what each method promises."""

    def __init__(self, snapshots: Snapshots, lists: SnapshotLists, upkeep: Upkeep) -> None:
        self._snapshots = snapshots
        self._lists = lists
        self._upkeep = upkeep

    @unary
    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: Any) -> pb.Snapshot:  # noqa: N802
        """One snapshot's metadata."""
        snapshot = await self._snapshots.get(fields.ident("id", request.id))
        return convert.snapshot_to_pb(snapshot)

    @unary
    async def ListSnapshots(  # noqa: N802
        self, request: pb.ListSnapshotsRequest, context: Any
    ) -> pb.ListSnapshotsResponse:
        """Snapshots, newest first."""
        size = fields.page_size(request.page_size)
        found = await self._lists.list_snapshots(
            session_id=fields.optional_ident("session_id", request.session_id),
            target_id=fields.optional_ident("target_id", request.target_id),
            limit=size + 1,
            after=fields.cursor(request.page_token),
        )
        items, last = fields.page(found, size)
        return pb.ListSnapshotsResponse(
            snapshots=[convert.snapshot_to_pb(item) for item in items],
            next_page_token=fields.token(last.capture_time, last.id) if last else "",
        )

    @streaming
    async def DownloadSnapshot(  # noqa: N802
        self, request: pb.DownloadSnapshotRequest, context: Any
    ) -> AsyncIterator[pb.Chunk]:
        """The stored bytes from an offset, with the digest in the last chunk."""
        snapshot = await self._snapshots.get(fields.ident("id", request.id))
        offset, total = request.offset_bytes, snapshot.stored_size_bytes
        digest = new_digest() if offset == 0 else None
        async for data in self._snapshots.read(snapshot, offset):
            if digest is not None:
                digest.update(data)
            end = offset + len(data)
            if end == total and digest and digest.hexdigest() != snapshot.stored_sha256:
                raise BlobLostError(snapshot.id, "its bytes no longer match their digest")
            yield _chunk(offset, data, total, snapshot.stored_sha256 if end == total else "")
            offset = end
        if offset == total == request.offset_bytes:
            yield _chunk(offset, b"", total, snapshot.stored_sha256)

    @unary
    async def UploadSnapshot(  # noqa: N802
        self, request: AsyncIterator[pb.UploadSnapshotRequest], context: Any
    ) -> pb.Snapshot:
        """Stores a snapshot from outside."""
        messages = aiter(request)
        first = await anext(messages, None)
        if first is None or first.WhichOneof("part") != "header":
            raise fields.bad_field("header", "is missing: the first message must hold it")
        upload = upload_of(first.header)
        return convert.snapshot_to_pb(await self._snapshots.upload(upload, _pieces(messages)))

    @unary
    async def DeleteSnapshot(  # noqa: N802
        self, request: pb.DeleteSnapshotRequest, context: Any
    ) -> pb.DeleteSnapshotResponse:
        """Deletes blob and metadata."""
        await self._snapshots.delete(fields.ident("id", request.id))
        return pb.DeleteSnapshotResponse()

    @unary
    async def CleanUpSnapshots(  # noqa: N802
        self, request: pb.CleanUpSnapshotsRequest, context: Any
    ) -> pb.CleanUpSnapshotsResponse:
        """A round of upkeep."""
        done = await self._upkeep.round(
            dry_run=request.dry_run, delete_orphans=request.delete_orphans
        )
        return convert.round_to_pb(done)


def upload_of(header: pb.UploadHeader) -> Upload:
    """A checked header.

    Raises:
        InvalidArgumentError: names the field that cannot be.
    """
    if header.content_encoding not in set(Encoding):
        raise fields.bad_field(
            "content_encoding",
            f"is {header.content_encoding[:40]!r}, expected '', 'gzip' or 'zstd'",
        )
    if len(header.sha256) != 64 or set(header.sha256) - set("0123456789abcdef"):
        raise fields.bad_field("sha256", "is not 64 lower-case hex digits")
    if header.size_bytes <= 0:
        raise fields.bad_field("size_bytes", "is 0, expected the length of what follows")
    return Upload(
        request_id=fields.ident("request_id", header.request_id),
        encoding=Encoding(header.content_encoding),
        size_bytes=header.size_bytes,
        sha256=header.sha256,
        file_name=fields.file_name("file_name", header.file_name),
        session_id=fields.optional_ident("session_id", header.session_id),
        phase=fields.optional_ident("phase", header.phase),
        service=fields.name("service", header.service),
        container_id=fields.name("container_id", header.container_id),
        runtime=convert.runtime_from_pb(header.runtime),
        capture_time=_checked_time(header),
    )


def _checked_time(header: pb.UploadHeader) -> model.Millis:
    time = convert.time_from_pb(header.capture_time)
    if not 0 <= time < model.MAX_TIME:
        raise fields.bad_field("capture_time", "is not between 1970 and 9999")
    return time


async def _pieces(messages: AsyncIterator[pb.UploadSnapshotRequest]) -> AsyncIterator[bytes]:
    offset = 0
    async for message in messages:
        if message.WhichOneof("part") != "chunk":
            raise fields.bad_field("chunk", "is missing: all messages but the first must hold it")
        try:
            data = checked_data(message.chunk, offset)
        except ChunkError as error:
            raise DigestMismatchError("the upload", str(error), "sound chunks in order") from error
        offset += len(data)
        if data:
            yield data


def _chunk(offset: int, data: bytes, total: int, sha256: str) -> pb.Chunk:
    return pb.Chunk(
        offset_bytes=offset,
        data=data,
        crc32c=google_crc32c.value(data),
        sha256=sha256,
        total_size_bytes=total,
    )
