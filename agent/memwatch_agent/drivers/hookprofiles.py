"""Records profiles through the target's hook: `profile` of docs/formats/hook-wire.md."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.base import PauseSource, Process, Sink
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.errors import (
    DriverError,
    KindUnsupportedError,
    NoHeadroomError,
    ProfilerMissingError,
    RecordingFailedError,
    TargetBusyError,
)
from memwatch_agent.drivers.hook import HookDriver, HookLink, believed, believed_notes
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions, RecordFacts

#: The command that a hook which can record lists in its HELLO.
COMMAND = "profile"

#: A word of the hook stands in a file's name and in metadata.
_MAX_WORD_CHARS = 64

_REFUSALS: Mapping[str, type[DriverError]] = {
    "UNSUPPORTED": KindUnsupportedError,
    "UNKNOWN_COMMAND": KindUnsupportedError,
    "MISSING": ProfilerMissingError,
    "HEADROOM": NoHeadroomError,
    "BUSY": TargetBusyError,
}


async def record_by_hook(
    target: Process,
    kind: ProfileKind,
    options: ProfileOptions,
    sink: Sink,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> RecordFacts:
    """Has the target's hook record; see `Profiler`."""
    async with HookDriver().open(target) as link:
        return await record_over(link, target, kind, options, sink, started, stop)


async def record_over(
    link: HookLink,
    target: Process,
    kind: ProfileKind,
    options: ProfileOptions,
    sink: Sink,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> RecordFacts:
    """Records over an open connection to the hook; see `Profiler`."""
    if COMMAND not in link.hello.commands:
        version = link.hello.hook_version
        raise KindUnsupportedError(
            target.pid, f"its hook ({version}) records no profiles", "update its hook"
        )
    async with CostMeter(target) as meter:
        size, result = await _recorded(link, target, kind, options, sink, started, stop)
        return _facts(target, size, meter, result)


async def _recorded(
    link: HookLink,
    target: Process,
    kind: ProfileKind,
    options: ProfileOptions,
    sink: Sink,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> tuple[int, Mapping[str, Any]]:
    """The size of what came, and what the hook says of it."""
    size = 0
    stopping = asyncio.create_task(_stop(link, stop), name=f"end of a recording of {target.pid}")
    try:
        async with contextlib.aclosing(link.ask(COMMAND, _wire_options(kind, options))) as events:
            async for event in events:
                match event:
                    case hookwire.Data():
                        size += len(event.data)
                        await sink(event.data)
                    case hookwire.Progress():
                        started()
                    case hookwire.Result():
                        return size, event.result
                    case hookwire.Failed():
                        raise _refused(target, event)
                    case _:
                        pass
    finally:
        stopping.cancel()
    raise await link.ended("its hook closed the connection half-way")


async def _stop(link: HookLink, stop: asyncio.Event) -> None:
    await stop.wait()
    link.end_recording()


def _wire_options(kind: ProfileKind, options: ProfileOptions) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "seconds": options.duration_seconds,
        "max_bytes": options.max_size_bytes,
        "frames": options.frames,
        "native_traces": options.native_traces,
        "python_allocator": options.python_allocator,
        "aggregate": options.aggregate,
        "sampling_interval_bytes": options.sampling_interval_bytes,
        "gc": options.collect_garbage,
        "force": options.force,
    }


def _refused(target: Process, event: hookwire.Failed) -> DriverError:
    kind = _REFUSALS.get(event.reason, RecordingFailedError)
    return kind(target.pid, f"its hook says {event.reason}: {event.message}")


def _facts(target: Process, size: int, meter: CostMeter, result: Mapping[str, Any]) -> RecordFacts:
    if result.get("size_bytes") != size:
        said = str(result.get("size_bytes"))[:20]
        raise RecordingFailedError(
            target.pid, f"its hook sent {size} bytes of a profile of {said}", "record it again"
        )
    pause = believed(result.get("pause_millis"))
    return RecordFacts(
        size_bytes=size,
        content_type=believed_word(result.get("content_type"), "application/octet-stream"),
        extension=believed_word(result.get("extension"), "bin"),
        pause_millis=pause or 0.0,
        pause_source=PauseSource.UNKNOWN if pause is None else PauseSource.RUNTIME,
        cpu_millis=int(believed(result.get("cpu_millis")) or 0),
        # Not what RSS rose by: the service itself grows meanwhile.
        extra_memory_bytes=int(believed(result.get("extra_memory_bytes")) or 0),
        rss_before_bytes=meter.rss_before_bytes,
        rss_after_bytes=meter.rss_bytes,
        duration_millis=meter.duration_millis,
        notes=believed_notes(result.get("notes")),
    )


def believed_word(value: object, otherwise: str) -> str:
    """A word that the hook told, of safe characters; `otherwise` where it told none."""
    text = value if isinstance(value, str) else ""
    safe = "".join(letter for letter in text if letter.isascii() and letter.isprintable())
    return safe.replace(" ", "")[:_MAX_WORD_CHARS] or otherwise
