"""The worker process of reports: reads one job on stdin, writes a file and one answer, and ends."""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

import zstandard

from memwatch_controller.analysis.jobs import dump_answer
from memwatch_controller.analysis.worker import BASE_BYTES, die_with_parent, limit_memory
from memwatch_controller.profiles.reporting import RenderJob

#: Politeness of reports on a machine that has other work.
_NICENESS = 10

#: The longest artifact that is unpacked.
_MAX_RAW_BYTES = 1 << 34

_PIECE_BYTES = 1 << 20


class UnreadableError(Exception):
    """The artifact is not what its kind says; the sentence says why."""


def main() -> int:
    """Answers one job; the exit code is 0 whenever there is an answer."""
    die_with_parent()
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    job = RenderJob(**json.loads(sys.stdin.buffer.read()))
    limit_memory(job.memory_bytes + BASE_BYTES)
    sys.stdout.buffer.write(dump_answer(None, answer(job)))
    sys.stdout.buffer.flush()
    return 0


def answer(job: RenderJob) -> str:
    """Does a job; why it could not, or nothing."""
    try:
        with tempfile.TemporaryDirectory(dir=Path(job.output).parent) as folder:
            path = unpacked(job.path, Path(folder) / "artifact")
            base = unpacked(job.base_path, Path(folder) / "base") if job.base_path else None
            if job.format == "raw":
                path.replace(job.output)
            else:
                from memwatch_controller.profiles.rendering import render

                render(job, path, base)
    except MemoryError:
        return f"it needs more than the {job.memory_bytes:,} bytes that a report may use"
    except (UnreadableError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
    return ""


def unpacked(stored: str, path: Path) -> Path:
    """The artifact before compression, as a file.

    Raises:
        UnreadableError: it cannot be decompressed, or is longer than any of ours.
    """
    size = 0
    with Path(stored).open("rb") as source, path.open("wb") as target:
        try:
            for piece in zstandard.ZstdDecompressor().read_to_iter(source, write_size=_PIECE_BYTES):
                size += len(piece)
                if size > _MAX_RAW_BYTES:
                    raise UnreadableError(f"it has more than {_MAX_RAW_BYTES} bytes")
                target.write(piece)
        except zstandard.ZstdError as error:
            raise UnreadableError(f"its bytes cannot be decompressed ({error})") from error
    return path


if __name__ == "__main__":
    sys.exit(main())
