"""Writes a report of a profile into a file, in one step."""

import os
from collections.abc import Iterable
from pathlib import Path

from memwatchctl.errors import CallError, FileError, OverwriteError


def write(path: Path, data: Iterable[bytes], size_bytes: int, *, overwrite: bool) -> None:
    """Writes the bytes; the file has its name only when all are there.

    Raises:
        OverwriteError: there is such a file.
        FileError: it cannot be written.
        CallError: fewer bytes came than were announced.
    """
    if path.exists() and not overwrite:
        raise OverwriteError(path)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            for piece in data:
                file.write(piece)
            came = file.tell()
        if came != size_bytes:
            raise CallError(
                "UNAVAILABLE",
                f"cannot write '{path}': {came} bytes came of {size_bytes}; try again",
            )
        os.replace(part, path)
    except OSError as error:
        raise FileError("write file", path, error) from error
    finally:
        part.unlink(missing_ok=True)
