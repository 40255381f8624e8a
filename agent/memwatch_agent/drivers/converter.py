"""Makes a `.heapsnapshot` of a Python hook's heap dump, in a process that may break.

A dump comes out of the target, so it is untrusted: it is read by a program of its own with little
memory, little priority and a deadline, which comes with the hook's package (docs/decisions/0025).
The agent never imports that package; where it is not installed beside the agent, there is no
converter, and snapshots are asked for as text.
"""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memwatch_agent.drivers.base import Sink

#: Made of the converter's output at once.
READ_BYTES = 256 * 1024

#: Of the converter's last words.
_MAX_WORDS_BYTES = 16 * 1024

#: A million objects take 0.15 s of CPU in C and 10 s in Python, on a machine with nothing to do.
SECONDS = 60
SECONDS_PER_MILLION = 60

_PACKAGE = "memwatch_hook"
_MODULE = "memwatch_hook.convert"


class ConversionError(Exception):
    """A dump that could not be converted; its text is the whole sentence."""


@dataclass(frozen=True)
class Converted:
    """What was in a dump, as the converter counted it.

    Attributes:
        converter: "c", or "python" for the twin.
        head: what the dump says of itself.
        objects, heap_bytes: its objects, and the sum of their sizes.
        allocations: how many of them have a known allocation site.
        dump_bytes, size_bytes: the dump's size, and the snapshot's.
        cpu_millis: what converting took.
    """

    converter: str
    head: dict[str, Any]
    objects: int
    heap_bytes: int
    dump_bytes: int
    size_bytes: int
    cpu_millis: int
    allocations: int = 0


class Converter:
    """Runs the program."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        """`folder` holds the hook's package, `python` runs it."""
        self._command = (python, "-S", "-m", _MODULE)
        self._environ = {"PYTHONPATH": str(folder), "MEMWATCH_HOOK": "off"}

    async def convert(self, dump: int, objects: int, sink: Sink) -> Converted:
        """Reads the dump in a descriptor, and gives the snapshot to the sink.

        Raises:
            ConversionError: the dump is damaged, or the program ended before its time.
            OSError: the program cannot be started.
        """
        seconds = SECONDS + SECONDS_PER_MILLION * objects // 1_000_000
        try:
            async with asyncio.timeout(seconds), self._running(dump, seconds) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                size = 0
                while data := await process.stdout.read(READ_BYTES):
                    size += len(data)
                    await sink(data)
                words = await process.stderr.read(_MAX_WORDS_BYTES)
                return _understood(await process.wait(), words, size)
        except TimeoutError as error:
            raise ConversionError(f"cannot convert the heap dump: not in {seconds} s") from error

    @contextlib.asynccontextmanager
    async def _running(self, dump: int, seconds: int) -> AsyncGenerator[Process, None]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--seconds",
            str(seconds),
            stdin=dump,
            stdout=PIPE,
            stderr=PIPE,
            env=self._environ,
            limit=READ_BYTES,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


def find() -> Converter | None:
    """The converter of the hook's package beside this agent; None where there is none."""
    spec = find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if Path(place, "convert.py").is_file():
            return Converter(Path(place).parent)
    return None


def _understood(status: int, words: bytes, size: int) -> Converted:
    text = words.decode("utf-8", "replace").strip()
    if status < 0:
        raise ConversionError(f"cannot convert the heap dump: killed by signal {-status}")
    last = text.rpartition("\n")[2][:_MAX_WORDS_BYTES]
    if status:
        raise ConversionError(last or f"cannot convert the heap dump: status {status}")
    try:
        said = json.loads(last)
        converted = Converted(
            converter=str(said["converter"]),
            head=dict(said["head"]),
            objects=int(said["objects"]),
            heap_bytes=int(said["self_size_bytes"]),
            dump_bytes=int(said["dump_bytes"]),
            size_bytes=int(said["size_bytes"]),
            cpu_millis=round(said["cpu_millis"]),
            allocations=int(said.get("allocations", 0)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"cannot convert the heap dump: it says {last[:100]!r}") from error
    if converted.size_bytes != size:
        raise ConversionError(
            f"cannot convert the heap dump: {size} bytes of {converted.size_bytes} have come"
        )
    return converted
