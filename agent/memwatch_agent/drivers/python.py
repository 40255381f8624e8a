"""Captures of Python processes: a heap dump through the hook, converted here.

The dump comes as a file with the hook's last word, so the target never waits for the agent and
sends no text; `converter.py` makes the snapshot of it. A hook that knows no dumps, or an agent
without a converter, uses the road of `hook.py`: text, written in the target's child.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from memwatch_agent.drivers.artifact import Artifact, Throttled
from memwatch_agent.drivers.base import (
    Bounds,
    CaptureFacts,
    HeapFigures,
    HeapWalk,
    Process,
    Progress,
    Report,
    Sink,
    Stage,
)
from memwatch_agent.drivers.converter import ConversionError, Converted, Converter
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.errors import CaptureFailedError
from memwatch_agent.drivers.hook import HookDriver, HookLink, amount, epoch_of, python_bounds
from memwatch_agent.drivers.unixstream import UnixStream

#: What a hook that writes heap dumps has among HELLO's `formats`.
DUMP = "dump"

#: The greatest dump that a hook writes; it refuses to be asked for more.
MAX_DUMP_BYTES = 16 << 30

#: Words of a hook that stand in metadata.
_WALKERS = ("c", "python")
_WAYS = ("clone", "fork", "in place")

TWIN_NOTE = "converted by the slow Python twin: the hook beside the agent has no C parts"


class PythonHookDriver(HookDriver):
    """Takes snapshots of Python processes through their hook."""

    def __init__(self, converter: Converter | None) -> None:
        self._converter = converter

    def _link(self, target: Process, stream: UnixStream) -> HookLink:
        return PythonLink(target, stream, self._converter)


class PythonLink(HookLink):
    """A connection to one Python hook."""

    def __init__(self, target: Process, stream: UnixStream, converter: Converter | None) -> None:
        super().__init__(target, stream, stream, epoch_of(target))
        self._stream = stream
        self._converter = converter
        self._trace: dict[str, int] | None = None

    def trace(self, frames: int, seconds: int) -> None:
        """Has the next dump begin or end tracing of allocations; see `Tracer`."""
        self._trace = {"frames": frames, "seconds": seconds}

    async def figures(self) -> HeapFigures:
        """As `HookLink.figures`, and which walker the hook has."""
        figures = await super().figures()
        walker = (await self._ask("info", {})).get("walker")
        return replace(figures, walker=walker if walker in _WALKERS else "")

    async def capture(self, sink: Sink, report: Report) -> CaptureFacts:
        """As `capture_forked`, within the hook's own bounds; see `Link.capture`."""
        return await self.capture_forked(sink, report, Bounds())

    async def capture_forked(self, sink: Sink, report: Report, bounds: Bounds) -> CaptureFacts:
        """Asks for a dump and converts it; see `Link.capture_forked`."""
        if self._converter is None or DUMP not in self.hello.formats:
            return await super().capture_forked(sink, report, bounds)
        options: dict[str, Any] = {"format": DUMP, "sites": True, **python_bounds(bounds)}
        if self._trace is not None:
            options["trace"] = self._trace
        if bounds.artifact_bytes:
            options["max_bytes"] = min(bounds.artifact_bytes, MAX_DUMP_BYTES)
        artifact = Artifact(sink)
        async with CostMeter(self._target) as meter:
            self._writer.write(self._wire.request("heap", options))
            result = await self._received(artifact, report)
            facts = self._facts(0, meter, result)
            rss = amount(result.get("rss_bytes")) or meter.rss_before_bytes
        dump = self._stream.take_descriptor()
        try:
            self._check_dump(dump, result, artifact)
            Throttled(report).report(Progress(Stage.CAPTURING))
            converted = await self._converted(self._converter, dump, facts, artifact)
        finally:
            if dump >= 0:
                os.close(dump)
        return replace(
            facts,
            size_bytes=artifact.size_bytes,
            objects=converted.objects,
            duration_millis=meter.duration_millis,
            notes=(*facts.notes, *_notes(converted)),
            walk=_walk(converted, result, rss),
        )

    async def dumped(self, options: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Asks for a dump: its descriptor, which is the caller's, and what the hook says of it.

        Raises:
            DriverError: there is none.
        """
        artifact = Artifact(_refused)
        self._writer.write(self._wire.request("heap", {"format": DUMP, **options}))
        result = await self._received(artifact, lambda progress: None)
        dump = self._stream.take_descriptor()
        try:
            self._check_dump(dump, result, artifact)
        except CaptureFailedError:
            if dump >= 0:
                os.close(dump)
            raise
        return dump, dict(result)

    def facts_of(self, size: int, meter: CostMeter, result: Mapping[str, Any]) -> CaptureFacts:
        """What something of `size` bytes was and cost, as the hook tells it."""
        return replace(self._facts(0, meter, result), size_bytes=size)

    def _check_dump(self, dump: int, result: Mapping[str, Any], artifact: Artifact) -> None:
        """Whether a whole dump has come.

        Raises:
            CaptureFailedError: there is none, or it has not the size that the hook told.
        """
        said = result.get("size_bytes")
        if dump < 0 or artifact.size_bytes:
            raise CaptureFailedError(
                self._target.pid, "its hook sent no heap dump", "capture it again"
            )
        size = os.fstat(dump).st_size
        if said != size:
            raise CaptureFailedError(
                self._target.pid,
                f"its hook sent a heap dump of {size} bytes, and tells of {str(said)[:20]}",
                "capture it again",
            )

    async def _converted(
        self, converter: Converter, dump: int, facts: CaptureFacts, artifact: Artifact
    ) -> Converted:
        try:
            return await converter.convert(dump, facts.objects or 0, artifact.take)
        except (ConversionError, OSError) as error:
            raise CaptureFailedError(self._target.pid, str(error), "capture it again") from error


async def _refused(data: bytes) -> None:
    """Takes no bytes: a dump comes as a file; what came is told by its size."""


def _notes(converted: Converted) -> Iterator[str]:
    if converted.converter == "python":
        yield TWIN_NOTE
    if converted.allocations:
        yield f"of {converted.allocations:,} objects it is known where they were made"


def _walk(converted: Converted, result: Mapping[str, Any], rss_bytes: int) -> HeapWalk:
    walker, way = converted.head.get("walker"), result.get("way")
    spent = amount(result.get("walk_millis"))
    return HeapWalk(
        walker=walker if walker in _WALKERS else "",
        way=way if way in _WAYS else "",
        objects=converted.objects,
        heap_bytes=converted.heap_bytes,
        rss_bytes=rss_bytes,
        walk_millis=spent if spent is not None else amount(result.get("cpu_millis")) or 0,
        dump_bytes=converted.dump_bytes,
        convert_millis=converted.cpu_millis,
    )
