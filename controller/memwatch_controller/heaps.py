"""Questions about the heap of one stored snapshot, answered from an index beside it.

An index is built by the first question, in a worker process, and kept in a directory of the
local disk; the ones that were not asked for the longest give way to new ones.
"""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from memwatch_controller.analysis import guard
from memwatch_controller.analysis.jobs import IndexJob, JobFailedError, JobSnapshot
from memwatch_controller.analysis.queries import Queries, QueryFailedError
from memwatch_controller.analysis.room import NoRoomError
from memwatch_controller.analysis.runner import Runner
from memwatch_controller.errors import (
    AnalysisError,
    AnalysisTooLargeError,
    NotFoundError,
    StoreFullError,
)
from memwatch_controller.model import Snapshot
from memwatch_controller.store.blobs import RESERVE_BYTES, BlobStore, blob_key

#: Disk for each byte of a snapshot before compression: 60 bytes a node, 13 an edge, and strings.
INDEX_FACTOR = 2.0

#: All indexes together; the ones that were used last are kept.
MAX_INDEX_BYTES = 20 * 1024**3


class HeapRows(Protocol):
    """The metadata that is needed; `store.metadata.Metadata` is one."""

    async def get_snapshot(self, id: str) -> Snapshot | None:
        """One snapshot."""


class Heaps:
    """Use cases of heaps."""

    def __init__(
        self, rows: HeapRows, blobs: BlobStore, runner: Runner, queries: Queries, folder: Path
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._runner = runner
        self._queries = queries
        self._folder = folder
        self._building: dict[Path, asyncio.Task[None]] = {}

    async def ask(self, snapshot_id: str, ask: str, **question: Any) -> dict[str, Any]:
        """The answer of `analysis.query_worker` to a question about a snapshot.

        Raises:
            NotFoundError: no such snapshot, or no such object in it.
            AnalysisError: the snapshot cannot be read, or is too large.
            StoreFullError: there is no room for the index.
        """
        snapshot = await self._rows.get_snapshot(snapshot_id)
        if snapshot is None:
            raise NotFoundError("snapshot", snapshot_id)
        path = self._folder / f"{snapshot.id}.{snapshot.stored_sha256[:16]}.index"
        whole = {"index": str(path), "digest": snapshot.raw_sha256, "ask": ask, **question}
        for last in (False, True):
            await self._ensure(snapshot, path)
            try:
                return await self._queries.ask(whole)
            except QueryFailedError as error:
                if error.kind == "object":
                    raise NotFoundError("object", str(question["id"])) from error
                if error.kind != "index" or last:
                    raise AnalysisError("", str(error), _doing(snapshot)) from error
            path.unlink(missing_ok=True)  # damaged, or of an older version: built anew
        raise AssertionError("unreachable")

    def forget(self, snapshot: Snapshot) -> None:
        """Removes the index of a deleted snapshot."""
        name = f"{snapshot.id}.{snapshot.stored_sha256[:16]}.index"
        (self._folder / name).unlink(missing_ok=True)

    async def close(self) -> None:
        """Ends what runs."""
        for task in self._building.values():
            task.cancel()
        await asyncio.gather(*self._building.values(), return_exceptions=True)
        await self._queries.close()

    async def _ensure(self, snapshot: Snapshot, path: Path) -> None:
        """Builds the index where there is none; callers that ask meanwhile wait for the same."""
        if _used_now(path):
            return
        task = self._building.get(path)
        if task is None:
            task = asyncio.create_task(self._build(snapshot, path))
            self._building[path] = task
            task.add_done_callback(lambda _: self._building.pop(path, None))
        await asyncio.shield(task)  # a caller that leaves does not waste the work

    async def _build(self, snapshot: Snapshot, path: Path) -> None:
        runner = self._runner
        needed = guard.needed_bytes([snapshot.raw_size_bytes])
        try:
            async with runner.room.held(needed, runner.limits.memory_bytes):
                await self._build_with_room(snapshot, path)
        except NoRoomError as no:
            raise AnalysisTooLargeError(
                "", needed, no.allowed_bytes, no.free_bytes, _doing(snapshot)
            ) from no

    async def _build_with_room(self, snapshot: Snapshot, path: Path) -> None:
        runner = self._runner
        self._make_room(snapshot)
        key = blob_key(snapshot.id, snapshot.stored_sha256)
        async with self._blobs.local(key, snapshot.stored_size_bytes) as file:
            job = IndexJob(
                JobSnapshot(snapshot.id, str(file), snapshot.id_epoch),
                str(path),
                snapshot.raw_sha256,
                runner.limits.memory_bytes,
            )
            try:
                await runner.build_index(job)
            except JobFailedError as error:
                raise AnalysisError("", str(error), _doing(snapshot)) from error

    def _make_room(self, snapshot: Snapshot) -> None:
        """Removes the indexes that were not used the longest, as far as need be."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = int(INDEX_FACTOR * snapshot.raw_size_bytes)
        files = sorted(self._folder.glob("*.index"), key=lambda file: file.stat().st_mtime)
        used = sum(file.stat().st_size for file in files)
        while files and (used + wanted > MAX_INDEX_BYTES or self._room() < wanted):
            oldest = files.pop(0)
            used -= oldest.stat().st_size
            oldest.unlink(missing_ok=True)
        if self._room() < wanted:
            raise StoreFullError(f"the index of snapshot '{snapshot.id}'", wanted, self._room())

    def _room(self) -> int:
        return max(0, shutil.disk_usage(self._folder).free - RESERVE_BYTES)


def _used_now(path: Path) -> bool:
    """Whether there is an index; notes its last use, by which the oldest give way."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _doing(snapshot: Snapshot) -> str:
    return f"read the heap of snapshot '{snapshot.id}'"
