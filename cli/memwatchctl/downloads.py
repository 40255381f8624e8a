"""From a stream of chunks to a file that is whole: resumed, checked, renamed in one step.

The stored (zstd) bytes are gathered in `NAME.part`; only when their digest is right are they
unpacked beside it, and only when that digest is right too does the file get its name. Memory
stays at a few chunks whatever the size.
"""

import contextlib
import gzip
import os
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import BinaryIO

import zstandard

from memwatch_proto.chunks import CHUNK_BYTES, ChunkError, Digest, checked_data, new_digest
from memwatch_proto.v1.snapshots_pb2 import Chunk, Snapshot
from memwatchctl.errors import CliError, FileError, OverwriteError, UnreachableError
from memwatchctl.text import safe_name

#: Streams that break off without a byte of progress before it is given up.
MAX_BREAKS = 5

#: Level of gzip: heap snapshots are text, and higher ones cost twice the time for 2 %.
_GZIP_LEVEL = 5

Source = Callable[[int], Iterator[Chunk]]
Progress = Callable[[int, int], None]


class Form(Enum):
    """How a file holds a snapshot."""

    PLAIN = ""
    GZIP = ".gz"
    ZSTD = ".zst"


class BrokenDownloadError(CliError):
    """Bytes that are not what they were said to be.

    Attributes:
        snapshot_id: of which snapshot.
        cause: what is wrong.
    """

    def __init__(self, snapshot_id: str, cause: str) -> None:
        super().__init__(snapshot_id, cause)
        self.snapshot_id = snapshot_id
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot download snapshot '{self.snapshot_id}': {self.cause}; try again"


def form_of(path: Path) -> Form:
    """How a file of this name holds a snapshot."""
    suffix = path.suffix.lower()
    return {".gz": Form.GZIP, ".zst": Form.ZSTD, ".zstd": Form.ZSTD}.get(suffix, Form.PLAIN)


def file_name(snapshot: Snapshot, form: Form) -> str:
    """The name that a download gets; what came from outside cannot leave the folder."""
    name = safe_name(snapshot.file_name or f"{snapshot.id}.heapsnapshot")
    if not name.endswith(".heapsnapshot"):
        name += ".heapsnapshot"
    return name + form.value


def check_free(path: Path, overwrite: bool) -> None:
    """Sees that a file may be written before any work is done for it.

    Raises:
        OverwriteError: it exists.
        FileError: its folder does not, or cannot be written.
    """
    if path.is_dir():
        raise FileError("write", path, "it is a folder")
    if not overwrite and os.path.lexists(path):
        raise OverwriteError(path)
    if not path.parent.is_dir():
        raise FileError("write", path, f"there is no folder '{path.parent}'")
    if not os.access(path.parent, os.W_OK):
        raise FileError("write", path, f"the folder '{path.parent}' is not writable")


def save(
    source: Source,
    snapshot: Snapshot,
    path: Path,
    form: Form,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda _done, _total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetches a snapshot into a file.

    Raises:
        FileError: the file cannot be written.
        OverwriteError: it exists and may not be replaced.
        BrokenDownloadError: what came is not the snapshot.
        CliError: the source failed.
    """
    check_free(path, overwrite)
    part = path.with_name(path.name + ".part")
    try:
        _gather(source, snapshot, part, on_progress, sleep)
        if form is Form.ZSTD:
            _place(part, path, overwrite)
            return
        unpacked = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            _unpack(part, unpacked, snapshot, form)
            _place(unpacked, path, overwrite)
        finally:
            unpacked.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    except OSError as error:
        raise FileError("write", path, error) from error


def _gather(
    source: Source,
    snapshot: Snapshot,
    part: Path,
    on_progress: Progress,
    sleep: Callable[[float], None],
) -> None:
    """Fills the part file, from where it ends, until its digest is right."""
    resumed = part.exists() and part.stat().st_size > 0
    with _open_part(part) as file:
        if file.seek(0, os.SEEK_END) > snapshot.stored_size_bytes:
            file.truncate(0)
        digest = _fill(source, snapshot, file, on_progress, sleep)
        if digest != snapshot.stored_sha256 and resumed:
            file.truncate(0)  # the part was of something else
            digest = _fill(source, snapshot, file, on_progress, sleep)
        file.flush()
        os.fsync(file.fileno())
    if digest != snapshot.stored_sha256:
        part.unlink(missing_ok=True)
        raise BrokenDownloadError(snapshot.id, "the digest of what came is wrong")


def _open_part(part: Path) -> BinaryIO:
    """Opens the part file for its owner only, never through a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(part, flags, 0o600), "r+b")


def _fill(
    source: Source,
    snapshot: Snapshot,
    file: BinaryIO,
    on_progress: Progress,
    sleep: Callable[[float], None],
) -> str:
    """Appends until all is there, through streams that break off; the digest of the whole."""
    digest = new_digest()
    offset = _digest_of(file, digest)
    breaks = 0
    while offset < snapshot.stored_size_bytes:
        before = offset
        try:
            for chunk in source(offset):
                data = checked_data(chunk, offset)
                file.write(data)
                digest.update(data)
                offset += len(data)
                on_progress(offset, snapshot.stored_size_bytes)
            broken: Exception = BrokenDownloadError(snapshot.id, "the stream ended too early")
        except ChunkError as error:
            broken = BrokenDownloadError(snapshot.id, str(error))
        except UnreachableError as error:
            broken = error
        if offset >= snapshot.stored_size_bytes:
            break
        breaks = 0 if offset > before else breaks + 1
        if breaks >= MAX_BREAKS:
            file.flush()
            raise broken
        sleep(min(2.0, 0.2 * 2**breaks))
    return digest.hexdigest()


def _digest_of(file: BinaryIO, digest: Digest) -> int:
    """Takes in what the file already holds; its length."""
    file.seek(0)
    while data := file.read(4 * CHUNK_BYTES):
        digest.update(data)
    return file.tell()


def _unpack(part: Path, path: Path, snapshot: Snapshot, form: Form) -> None:
    """Writes the snapshot's own bytes, plain or as gzip.

    Raises:
        BrokenDownloadError: they are not what the metadata says.
    """
    digest, left = new_digest(), snapshot.raw_size_bytes
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(part.open("rb"))
        stream = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(reader))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        file = stack.enter_context(os.fdopen(descriptor, "wb"))
        writer = stack.enter_context(_packed(file)) if form is Form.GZIP else file
        while data := _read(stream, snapshot):
            left -= len(data)
            if left < 0:
                raise BrokenDownloadError(snapshot.id, "it unpacks to more than it should")
            digest.update(data)
            writer.write(data)
        if form is Form.PLAIN:
            file.flush()
            os.fsync(file.fileno())
    if left or digest.hexdigest() != snapshot.raw_sha256:
        raise BrokenDownloadError(snapshot.id, "the digest of the unpacked bytes is wrong")


def _packed(file: BinaryIO) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0)


def _read(stream: zstandard.ZstdDecompressionReader, snapshot: Snapshot) -> bytes:
    try:
        return stream.read(4 * CHUNK_BYTES)
    except zstandard.ZstdError as error:
        raise BrokenDownloadError(snapshot.id, f"it cannot be unpacked: {error}") from error


def _place(made: Path, path: Path, overwrite: bool) -> None:
    """Gives a finished file its name in one step.

    Raises:
        OverwriteError: somebody else made it in the meantime.
    """
    if overwrite:
        made.replace(path)
        return
    try:
        os.link(made, path)
    except FileExistsError as error:
        raise OverwriteError(path) from error
    except OSError:  # a file system without hard links
        check_free(path, overwrite)
        made.replace(path)
    else:
        made.unlink()
