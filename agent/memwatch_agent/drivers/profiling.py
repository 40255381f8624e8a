"""What a profiler is: records one kind of profile of one process.

A profiler is a function; which one records which kind of which runtime is one table in
`app.py`. It begins, tells `started`, passes the artifact's bytes to the sink, and returns the
facts when the last byte is there. It ends by itself when the duration is over, and early when
`stop` is set; whatever it opened or switched on is undone when it returns or is cancelled.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from memwatch_agent.drivers.base import PauseSource, Process, Runtime, Sink


class ProfileKind(StrEnum):
    """What a profile records."""

    TYPES = "types"
    ALLOCATIONS = "allocations"
    NATIVE = "native"
    SAMPLING = "sampling"
    NODE_ALLOCATIONS = "node-allocations"
    STATS = "stats"
    NEAR_LIMIT = "near-limit"


@dataclass(frozen=True)
class ProfileOptions:
    """How to record, with the defaults filled in; see ProfileOptions of profiles.proto."""

    duration_seconds: float = 30.0
    max_size_bytes: int = 100 * 1024 * 1024
    frames: int = 16
    native_traces: bool = False
    python_allocator: bool = False
    aggregate: bool = False
    sampling_interval_bytes: int = 32_768
    collect_garbage: bool = False
    force: bool = False


@dataclass(frozen=True)
class RecordFacts:
    """What a recording was and what it cost the target, measured.

    Attributes:
        size_bytes: sum of the bytes given to the sink.
        content_type: what they are.
        extension: of a file that holds them, without the dot.
        pause_millis: the longest time in which the target's own code could not run.
        pause_source: how the pause was measured.
        cpu_millis: CPU time of the target that went into it, as far as it is known; what the
            recording slows its own code down by is in the notes.
        extra_memory_bytes: highest extra memory of the target, as far as it is known.
        rss_before_bytes, rss_after_bytes: RSS of the target before and after.
        duration_millis: from the first command to the last byte.
        notes: what a reader should know, such as the method.
    """

    size_bytes: int
    content_type: str
    extension: str
    pause_millis: float
    pause_source: PauseSource
    cpu_millis: int
    extra_memory_bytes: int
    rss_before_bytes: int
    rss_after_bytes: int
    duration_millis: float
    notes: tuple[str, ...] = ()


class Profiler(Protocol):
    """Records one kind."""

    async def __call__(
        self,
        target: Process,
        kind: ProfileKind,
        options: ProfileOptions,
        sink: Sink,
        started: Callable[[], None],
        stop: asyncio.Event,
    ) -> RecordFacts:
        """Records; every byte has gone to the sink when it returns.

        Raises:
            DriverError: it went wrong; what the sink has is worthless.
        """


#: How a profiler is found: by runtime and kind.
Profilers = Mapping[tuple[Runtime, ProfileKind], Profiler]
