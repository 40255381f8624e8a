"""Where the bytes of snapshots lie: a directory, or S3, GCS or Azure by URL.

A blob comes in as a `Part`, a file under the staging directory. It gets its name in the store
in one step, once length and digests are right; a crash at any instant leaves a part, which
the next start sweeps, and never half a blob under a final name. Keys are made here, of the
snapshot's id (checked) and its stored digest, so a key never holds other bytes than it says.
"""

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from memwatch_controller.errors import (
    BlobLostError,
    DigestMismatchError,
    InvalidArgumentError,
    OffsetOutOfRangeError,
    StoreFullError,
    StoreUnavailableError,
)
from memwatch_controller.model import Millis, is_id
from memwatch_controller.store.intake import Encoding, Facts, Intake, IntakeError
from memwatch_controller.store.staging import Staged, Staging
from memwatch_proto.chunks import CHUNK_BYTES

#: The longest blob that is taken in: a heap of 100 GB compresses to less.
MAX_STORED_BYTES = 16 * 1024**3

#: The longest snapshot before compression.
MAX_RAW_BYTES = 128 * 1024**3

#: Left free beside blobs: the metadata's database lives on the same disk by default.
RESERVE_BYTES = 64 * 1024**2

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def blob_key(snapshot_id: str, stored_sha256: str) -> str:
    """The key under which a snapshot's bytes lie.

    Raises:
        InvalidArgumentError: an id or digest that is not one of ours.
    """
    if not is_id(snapshot_id) or len(stored_sha256) != 64 or not stored_sha256.isalnum():
        raise InvalidArgumentError(
            "name a blob", f"{snapshot_id!r} with digest {stored_sha256!r} is not an id of ours"
        )
    return f"snapshots/{snapshot_id}.{stored_sha256[:16]}.zst"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob that is there: how long it is and when it got its name."""

    key: str
    size: int
    modified: Millis


class Part:
    """Bytes on their way into the store. Leaving its context without `commit` removes them.

    All work on bytes happens in threads: a digest of a gigabyte must not stop the loop.
    """

    def __init__(self, staged: Staged, intake: Intake, what: str) -> None:
        self.path = staged.path
        self._staged = staged
        self._intake = intake
        self._what = what

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._staged.remove)

    @property
    def received(self) -> int:
        """Bytes taken in so far: where to go on after a cut."""
        return self._intake.received

    async def append(self, data: bytes) -> None:
        """Takes the next bytes in.

        Raises:
            DigestMismatchError: there are more than announced, or they cannot be decompressed.
            StoreFullError: the disk is full.
        """
        with self._translated(len(data)):
            await asyncio.to_thread(self._intake.feed, data)

    async def close(self) -> Facts:
        """The facts of what came, once it lies on the disk for good."""
        with self._translated(0):
            return await asyncio.to_thread(self._close)

    def check_received(self, size_bytes: int | None, sha256: str) -> None:
        """Compares what came with what its sender announced; None and "": not announced.

        Raises:
            DigestMismatchError: length or digest differ.
        """
        if size_bytes is not None and self.received != size_bytes:
            raise DigestMismatchError(self._what, f"{self.received} bytes", f"{size_bytes} bytes")
        if sha256 and self._intake.incoming_sha256 != sha256:
            raise DigestMismatchError(self._what, f"SHA-256 {self._intake.incoming_sha256}", sha256)

    def check_document(self) -> None:
        """Refuses what cannot be a snapshot.

        Raises:
            DigestMismatchError: it is not one whole JSON object.
        """
        with self._translated(0):
            self._intake.check_document()

    def _close(self) -> Facts:
        facts = self._intake.finish()
        file = self._staged.file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        return facts

    @contextlib.contextmanager
    def _translated(self, needed: int) -> Iterator[None]:
        try:
            yield
        except IntakeError as error:
            raise DigestMismatchError(
                self._what, f"{error.what}: {error.got}", error.expected
            ) from error
        except OSError as error:
            raise _storage_error(error, self._what, needed, self.path.parent) from error


class BlobStore:
    """Blobs by key.

    Args:
        store: the object store.
        staging: directory for parts; of the same filesystem as `root` where there is one.
        root: the directory that `store` is, None for a remote one.
        reserve_bytes: left free on the disk of `staging`.
    """

    def __init__(
        self, store: ObjectStore, staging: Staging, root: Path | None, reserve_bytes: int
    ) -> None:
        self._store = store
        self._staging = staging
        self._root = root
        self._reserve = reserve_bytes

    @classmethod
    def open(cls, url: str, data_dir: Path, reserve_bytes: int = RESERVE_BYTES) -> Self:
        """The store at a URL (`s3://…`, `gs://…`, `az://…`, `file:///…`) or path.

        A remote store stages its parts under `data_dir`. What killed programs left in the
        staging directory is removed.

        Raises:
            InvalidArgumentError: a URL that names no store.
            StoreUnavailableError: the directory cannot be made or written.
        """
        root = _local_root(url)
        folder = root / ".incoming" if root else data_dir / "incoming"
        try:
            staging = Staging(folder)
        except OSError as error:
            raise StoreUnavailableError(f"use '{folder}'", str(error)) from error
        return cls(_object_store(url, root), staging, root, reserve_bytes)

    def begin(
        self,
        what: str,
        encoding: Encoding = Encoding.ZSTD,
        *,
        incoming_limit: int = MAX_STORED_BYTES,
        raw_limit: int = MAX_RAW_BYTES,
    ) -> Part:
        """An empty part; `what` names it in errors.

        Args:
            what: such as "snapshot 's-1'".
            encoding: how its bytes will come.
            incoming_limit: their announced length, which must fit on the disk.
            raw_limit: their announced length before compression.

        Raises:
            StoreFullError: there is no room for `incoming_limit` bytes.
            DigestMismatchError: more is announced than is ever taken.
        """
        if incoming_limit > MAX_STORED_BYTES or raw_limit > MAX_RAW_BYTES:
            most = f"at most {MAX_STORED_BYTES} bytes, {MAX_RAW_BYTES} before compression"
            raise DigestMismatchError(what, f"{incoming_limit} bytes of {raw_limit}", most)
        free = max(0, shutil.disk_usage(self._staging.folder).free - self._reserve)
        if incoming_limit != MAX_STORED_BYTES and incoming_limit > free:
            raise StoreFullError(what, incoming_limit, free)
        try:
            staged = self._staging.new(".part")
        except OSError as error:
            raise _storage_error(error, what, incoming_limit, self._staging.folder) from error
        intake = Intake(staged.file, encoding, incoming_limit=incoming_limit, raw_limit=raw_limit)
        return Part(staged, intake, what)

    async def commit(self, part: Part, key: str) -> None:
        """Gives a closed part its final name, for good. A blob of that key is replaced.

        Raises:
            StoreFullError: the store has no room.
            StoreUnavailableError: the store does not answer.
        """
        try:
            if self._root is not None:
                await asyncio.to_thread(_move, part.path, self._root / key)
                return
            await obstore.put_async(self._store, key, part.path, use_multipart=True)
        except OSError as error:
            raise _storage_error(error, f"blob '{key}'", 0, self._staging.folder) from error
        except BaseError as error:
            raise StoreUnavailableError(f"store blob '{key}'", _first_line(error)) from error

    async def size(self, key: str) -> int | None:
        """Bytes of a blob; None where there is none."""
        try:
            return int((await obstore.head_async(self._store, key))["size"])
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise StoreUnavailableError(f"look up blob '{key}'", _first_line(error)) from error

    async def read(
        self, key: str, size: int, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a blob from `offset` on, in pieces of at most `CHUNK_BYTES`.

        Args:
            key: the blob's.
            size: how long it must be.
            offset: where to start.
            length: how many bytes; None: to the end.

        Raises:
            OffsetOutOfRangeError: `offset` is beyond `size`.
            BlobLostError: the blob is gone, or shorter or longer than `size`.
            StoreUnavailableError: the store does not answer.
        """
        if not 0 <= offset <= size:
            raise OffsetOutOfRangeError(key, offset, size)
        end = size if length is None else min(size, offset + length)
        stored = await self.size(key)
        if stored != size:
            raise BlobLostError(key, f"it has {stored or 0} bytes instead of {size}")
        if end == offset:
            return
        try:
            found = await obstore.get_async(self._store, key, options={"range": (offset, end)})
            async for piece in found.stream(min_chunk_size=CHUNK_BYTES):
                view = memoryview(piece)
                for start in range(0, len(view), CHUNK_BYTES):
                    yield bytes(view[start : start + CHUNK_BYTES])
        except FileNotFoundError as error:
            raise BlobLostError(key, "it is gone") from error
        except BaseError as error:
            raise StoreUnavailableError(f"read blob '{key}'", _first_line(error)) from error

    async def list(self, prefix: str) -> AsyncIterator[StoredBlob]:
        """The blobs whose keys begin so.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        try:
            async for page in obstore.list(self._store, prefix):
                for found in page:
                    modified = round(found["last_modified"].timestamp() * 1000)
                    yield StoredBlob(found["path"], int(found["size"]), modified)
        except (OSError, BaseError) as error:
            raise StoreUnavailableError("list blobs", _first_line(error)) from error

    async def delete(self, key: str) -> None:
        """Removes a blob; one that is not there is no error."""
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (OSError, BaseError) as error:
            raise StoreUnavailableError(f"delete blob '{key}'", _first_line(error)) from error

    async def check(self) -> None:
        """Looks whether the store answers.

        Raises:
            StoreUnavailableError: it does not, or its staging directory is gone.
        """
        if not os.access(self._staging.folder, os.W_OK):
            raise StoreUnavailableError(f"use '{self._staging.folder}'", "it cannot be written")
        await self.size("snapshots/none")

    @contextlib.asynccontextmanager
    async def local(self, key: str, size: int) -> AsyncIterator[Path]:
        """A path where the blob can be opened; a remote one is copied for the block.

        Raises:
            BlobLostError: the blob is gone or has another length.
            StoreFullError: there is no room for the copy.
        """
        if self._root is not None:
            if await self.size(key) != size:
                raise BlobLostError(key, "it is gone or was changed")
            yield self._root / key
            return
        staged = self._staging.new(".copy")
        try:
            await self._copy(key, size, staged.file)
            yield staged.path
        finally:
            staged.remove()

    async def _copy(self, key: str, size: int, file: BinaryIO) -> None:
        free = max(0, shutil.disk_usage(self._staging.folder).free - self._reserve)
        if size > free:
            raise StoreFullError(f"a copy of blob '{key}'", size, free)
        with file:
            async for piece in self.read(key, size):
                await asyncio.to_thread(file.write, piece)


def _move(source: Path, target: Path) -> None:
    """Renames a file on one filesystem so that the new name survives a power cut."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _local_root(url: str) -> Path | None:
    """The directory that a URL or path names; None for a remote store."""
    if "://" not in url:
        return Path(url).absolute()
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _object_store(url: str, root: Path | None) -> ObjectStore:
    if root is not None:
        return LocalStore(root, mkdir=True)
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise InvalidArgumentError(
            f"use blob store '{url}'",
            f"{_first_line(error)}; give a directory, s3://, gs:// or az://",
        ) from error


def _storage_error(
    error: OSError, what: str, needed: int, directory: Path
) -> StoreFullError | StoreUnavailableError:
    if error.errno in _NO_SPACE:
        return StoreFullError(what, needed, shutil.disk_usage(directory).free)
    return StoreUnavailableError(f"store {what}", str(error))


def _first_line(error: BaseException) -> str:
    """The first line of an error: obstore's go on with a dump of themselves."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
