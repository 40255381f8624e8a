"""The spool: where snapshots lie, compressed, until their receiver holds them safely.

The layout and the order of writes are docs/formats/spool.md. Everything here blocks on the
disk: call it from a thread. Names are checked and opened relative to the spool's own directory,
without following links.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from google.protobuf import json_format

from memwatch_agent.errors import SnapshotNotFoundError, SpoolFullError, StateDirError
from memwatch_proto.v1 import snapshots_pb2

FORMAT = 1

BLOB, META, PART, NEW = ".heapsnapshot.zst", ".json", ".part", ".new"

#: Fast enough to keep up with a runtime that writes its heap; a tenth of the size remains.
ZSTD_LEVEL = 1

#: The disk keeps this much free: the service beside the agent may share it.
RESERVE_BYTES = 64 * 1024 * 1024

#: All of them stand in one answer of GetAgent, which gRPC cuts at 4 MiB.
MAX_SNAPSHOTS = 1_000

#: So many discarded snapshots are remembered, so that a late second call takes none twice.
MAX_DISCARDED = 1_000

#: A metadata file is about 2 KiB.
_MAX_META_BYTES = 256 * 1024

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class Blob:
    """What was written: sizes and digests before and after compression."""

    raw_size_bytes: int
    raw_sha256: str
    stored_size_bytes: int
    stored_sha256: str


@dataclass(frozen=True)
class Entry:
    """One snapshot of the spool; a discarded one has no bytes any more."""

    snapshot: snapshots_pb2.Snapshot
    discarded: bool


class _NewerFormatError(Exception):
    """A later agent's metadata: it is left alone, and so is its blob."""


class Spool:
    """A bounded directory of snapshots. Its methods may be called from any thread."""

    def __init__(self, path: Path, quota_bytes: int, free_bytes: Callable[[int], int]) -> None:
        """Opens the directory and puts in order what an earlier agent left there.

        Args:
            path: the directory; made (0700) where it is missing.
            quota_bytes: the most that snapshots may take.
            free_bytes: bytes free on the file system of a directory's descriptor.

        Raises:
            StateDirError: the directory cannot be used.
        """
        self.path = path
        self.quota_bytes = quota_bytes
        self._free_bytes = free_bytes
        self._lock = threading.RLock()  # of what is in memory; never held while the disk works
        self._disk = threading.Lock()  # of changes to finished snapshots
        self._entries: dict[str, Entry] = {}
        self._by_request: dict[str, str] = {}
        self._foreign: set[str] = set()
        self._used = 0
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
            self._recover()
        except OSError as error:
            raise StateDirError(str(path), error.strerror or str(error)) from error

    def close(self) -> None:
        """Lets the directory go."""
        os.close(self._directory)

    @property
    def used_bytes(self) -> int:
        """Bytes taken by finished and unfinished snapshots."""
        return self._used

    @property
    def room_bytes(self) -> int:
        """How much more may be written now: within the quota, and of the disk."""
        free = self._free_bytes(self._directory) - RESERVE_BYTES
        return max(0, min(self.quota_bytes - self._used, free))

    def snapshots(self) -> Sequence[snapshots_pb2.Snapshot]:
        """The finished snapshots that are not discarded, oldest first."""
        with self._lock:
            return [entry.snapshot for entry in self._entries.values() if not entry.discarded]

    def by_request(self, request_id: str) -> Entry | None:
        """What a request made, also if it was discarded since; None where it made nothing."""
        with self._lock:
            snapshot_id = self._by_request.get(request_id)
            return self._entries[snapshot_id] if snapshot_id else None

    def create(self, snapshot_id: str) -> "Writer":
        """Begins a snapshot.

        Raises:
            SpoolFullError: there is no room for another one.
        """
        with self._lock:
            kept = sum(not entry.discarded for entry in self._entries.values())
            if kept >= MAX_SNAPSHOTS:
                raise self._full(f"it holds {kept} snapshots, the most it may")
            self._take(0)
        return Writer(self, self._directory, checked_id(snapshot_id))

    def open(self, snapshot_id: str) -> tuple[BinaryIO, snapshots_pb2.Snapshot]:
        """A finished snapshot's bytes and metadata; stays readable if it is discarded meanwhile.

        Raises:
            SnapshotNotFoundError: it is not there.
        """
        with self._lock:
            entry = self._entries.get(snapshot_id)
            if entry is None or entry.discarded:
                raise SnapshotNotFoundError(
                    snapshot_id, "it was discarded" if entry else "it is not in the spool"
                )
            try:
                file = self._open(snapshot_id + BLOB, os.O_RDONLY)
            except OSError as error:
                raise SnapshotNotFoundError(snapshot_id, error.strerror or str(error)) from error
            return os.fdopen(file, "rb"), entry.snapshot

    def discard(self, snapshot_id: str) -> None:
        """Frees a snapshot's place; one that is not there is no error."""
        with self._disk:
            entry = self._entries.get(snapshot_id)
            if entry is None or entry.discarded:
                return
            self._note(entry.snapshot, discarded=True)  # first: a blob without it is removed
            self._unlink(snapshot_id + BLOB)
            self._give_back(entry.snapshot.stored_size_bytes)
            self._forget_oldest_discarded()

    def _keep(self, snapshot: snapshots_pb2.Snapshot) -> None:
        """Gives a written snapshot its name, then its metadata: from then on it is finished.

        Raises:
            SpoolFullError: the disk is full; the bytes are gone.
        """
        with self._disk:
            try:
                self._rename(snapshot.id + PART, snapshot.id + BLOB)
                os.fsync(self._directory)
                self._note(snapshot, discarded=False)
            except OSError as error:
                self._unlink(snapshot.id + BLOB)
                raise self._full(error) from error

    def _take(self, size: int) -> None:
        """Counts bytes that are about to be written.

        Raises:
            SpoolFullError: they do not fit.
        """
        with self._lock:
            if self._used + size > self.quota_bytes:
                raise self._full("its quota is used up")
            free = self._free_bytes(self._directory)
            if free - size < RESERVE_BYTES:
                cause = f"the disk has {free} bytes left and keeps {RESERVE_BYTES} of them"
                raise self._full(cause)
            self._used += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._used -= size

    def _full(self, cause: OSError | str) -> SpoolFullError:
        text = cause if isinstance(cause, str) else cause.strerror or str(cause)
        return SpoolFullError(text, self._used, self.quota_bytes)

    def _note(self, snapshot: snapshots_pb2.Snapshot, discarded: bool) -> None:
        """Writes a snapshot's metadata in one step, and remembers it."""
        fields = {
            "format": FORMAT,
            "discarded": discarded,
            "snapshot": json_format.MessageToDict(snapshot, preserving_proto_field_name=True),
        }
        self._write_small(snapshot.id + META, json.dumps(fields).encode() + b"\n")
        self._remember(Entry(snapshot, discarded))

    def _remember(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.snapshot.id] = entry
            self._by_request[entry.snapshot.request_id] = entry.snapshot.id

    def _forget_oldest_discarded(self) -> None:
        with self._lock:
            discarded = [key for key, entry in self._entries.items() if entry.discarded]
            forgotten = discarded[: max(0, len(discarded) - MAX_DISCARDED)]
            for snapshot_id in forgotten:
                request_id = self._entries.pop(snapshot_id).snapshot.request_id
                if self._by_request.get(request_id) == snapshot_id:
                    del self._by_request[request_id]
        for snapshot_id in forgotten:
            self._unlink(snapshot_id + META)

    def _recover(self) -> None:
        """Takes in finished snapshots and removes what was never finished."""
        names = set(os.listdir(self._directory))
        for name in sorted(names):
            if name.endswith((PART, NEW)):
                self._unlink(name)
            elif name.endswith(META) and _ID.fullmatch(name.removesuffix(META)):
                self._recover_one(name.removesuffix(META))
        for name in names:
            snapshot_id = name.removesuffix(BLOB)
            if name.endswith(BLOB) and not self._has_bytes(snapshot_id):
                self._unlink(name)
        self._forget_oldest_discarded()

    def _recover_one(self, snapshot_id: str) -> None:
        try:
            entry = self._read_entry(snapshot_id)
        except _NewerFormatError:
            self._foreign.add(snapshot_id)
            return
        if entry is None:
            self._unlink(snapshot_id + META)
            return
        if not entry.discarded:
            self._used += entry.snapshot.stored_size_bytes
        self._remember(entry)

    def _has_bytes(self, snapshot_id: str) -> bool:
        entry = self._entries.get(snapshot_id)
        return snapshot_id in self._foreign or (entry is not None and not entry.discarded)

    def _read_entry(self, snapshot_id: str) -> Entry | None:
        """A metadata file's content; None where it does not describe what lies beside it.

        Raises:
            _NewerFormatError: a later agent wrote it.
        """
        try:
            with os.fdopen(self._open(snapshot_id + META, os.O_RDONLY), "rb") as file:
                fields: Any = json.loads(file.read(_MAX_META_BYTES))
            if fields["format"] > FORMAT:
                raise _NewerFormatError
            snapshot = json_format.ParseDict(
                fields["snapshot"], snapshots_pb2.Snapshot(), ignore_unknown_fields=True
            )
            if snapshot.id != snapshot_id:
                return None
            entry = Entry(snapshot, bool(fields["discarded"]))
            return entry if entry.discarded or self._complete(snapshot) else None
        except (OSError, ValueError, KeyError, TypeError, json_format.ParseError):
            return None

    def _complete(self, snapshot: snapshots_pb2.Snapshot) -> bool:
        found = os.stat(snapshot.id + BLOB, dir_fd=self._directory, follow_symlinks=False)
        return stat.S_ISREG(found.st_mode) and found.st_size == snapshot.stored_size_bytes

    def _write_small(self, name: str, data: bytes) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(self._open(name + NEW, flags), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._rename(name + NEW, name)
            os.fsync(self._directory)
        except OSError:
            self._unlink(name + NEW)
            raise

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | _FLAGS, 0o600, dir_fd=self._directory)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)


class Writer:
    """One snapshot that is being written: compressed, counted and digested as it comes.

    Its methods may be called from several threads, one after the other.
    """

    def __init__(self, spool: Spool, directory: int, snapshot_id: str) -> None:
        self._spool = spool
        self._id = snapshot_id
        self._directory = directory
        self._lock = threading.Lock()
        self._raw, self._stored = hashlib.sha256(), hashlib.sha256()
        self._raw_size = self._stored_size = 0
        self._compressor = zstandard.ZstdCompressor(
            level=ZSTD_LEVEL, write_checksum=True
        ).compressobj()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
        self._file = os.open(snapshot_id + PART, flags, 0o600, dir_fd=directory)

    @property
    def raw_size_bytes(self) -> int:
        """Bytes written so far, before compression."""
        return self._raw_size

    def write(self, data: bytes) -> None:
        """Takes the next bytes of the snapshot.

        Raises:
            SpoolFullError: quota or disk are used up; call `abort`.
        """
        with self._lock:
            self._raw.update(data)
            self._raw_size += len(data)
            self._store(self._compressor.compress(data))

    def finish(self) -> Blob:
        """Writes what is left and puts all of it on the disk; `keep` makes it a snapshot.

        Raises:
            SpoolFullError: quota or disk are used up; call `abort`.
        """
        with self._lock:
            self._store(self._compressor.flush())
            try:
                os.fsync(self._file)
            except OSError as error:
                raise self._spool._full(error) from error
            self._shut()
            return Blob(
                self._raw_size, self._raw.hexdigest(), self._stored_size, self._stored.hexdigest()
            )

    def keep(self, snapshot: snapshots_pb2.Snapshot) -> None:
        """Makes what `finish` wrote a snapshot of the spool.

        Raises:
            SpoolFullError: the disk is full; call `abort`.
        """
        with self._lock:
            self._spool._keep(snapshot)
            self._stored_size = 0  # the spool's own from here on

    def abort(self) -> None:
        """Removes what was written; does nothing to what was kept."""
        with self._lock:
            self._shut()
            self._spool._unlink(self._id + PART)
            self._spool._give_back(self._stored_size)
            self._stored_size = 0

    def _store(self, data: bytes) -> None:
        if not data:
            return
        self._spool._take(len(data))
        self._stored_size += len(data)
        self._stored.update(data)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise self._spool._full(error) from error

    def _shut(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def checked_id(snapshot_id: str) -> str:
    """The id, if it is one that memwatch could have made.

    Raises:
        SnapshotNotFoundError: it is not, so there is no such snapshot.
    """
    if not _ID.fullmatch(snapshot_id):
        raise SnapshotNotFoundError(snapshot_id[:128], "that is no id of a snapshot")
    return snapshot_id


def free_bytes(directory: int) -> int:
    """Bytes that this user may still write on a directory's file system."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
