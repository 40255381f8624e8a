"""Records profiles of Node processes: through their hook, or through one put there for the time.

Either way the inspector's port stays shut while it records: the hook uses V8's inspector from
within (`node:inspector`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from memwatch_agent.drivers import hookprofiles
from memwatch_agent.drivers.base import HeapFigures, Manner, Process, Sink, Way
from memwatch_agent.drivers.errors import KindUnsupportedError, TargetEndedError
from memwatch_agent.drivers.hook import HookDriver, HookLink
from memwatch_agent.drivers.node import NodeAttachDriver
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions, RecordFacts
from memwatch_agent.forecasts import Forecast, Size, forecast
from memwatch_agent.history import History
from memwatch_agent.taking import FORCED_NOTE, kin, room_of
from memwatch_agent.targets import Roster, Target

_MB = 1024 * 1024


class NodeProfiler:
    """Records; see `Profiler`."""

    def __init__(
        self, proc: Path, attach: NodeAttachDriver, roster: Roster, history: History
    ) -> None:
        """`history`: what earlier snapshots cost; an allocation timeline ends with one."""
        self._proc = proc
        self._attach = attach
        self._roster = roster
        self._history = history

    async def __call__(
        self,
        target: Process,
        kind: ProfileKind,
        options: ProfileOptions,
        sink: Sink,
        started: Callable[[], None],
        stop: asyncio.Event,
    ) -> RecordFacts:
        """Records one profile; every byte has gone to the sink when it returns.

        Raises:
            DriverError: there is no way in, or it broke.
            HeadroomError: the snapshot at its end must not be taken.
        """
        notes: tuple[str, ...] = ()
        async with self._linked(target) as link:
            if kind is ProfileKind.NODE_ALLOCATIONS:
                notes = (await self._preflight(target, link, options),)
            facts = await hookprofiles.record_over(link, target, kind, options, sink, started, stop)
        return replace(facts, notes=(*notes, *facts.notes))

    @asynccontextmanager
    async def _linked(self, target: Process) -> AsyncIterator[HookLink]:
        """A hook that can record: the target's own, else one that is put there."""
        if target.hook_socket is not None:
            async with HookDriver().open(target) as link:
                if hookprofiles.COMMAND in link.hello.commands:
                    yield link
                    return
        async with self._attach.open(target) as attached:
            if not isinstance(attached, HookLink):
                raise KindUnsupportedError(
                    target.pid,
                    "the hook could not be put into it, and the inspector alone records nothing",
                    "start it with NODE_OPTIONS=--require=memwatch-hook.cjs",
                )
            yield attached

    async def _preflight(self, target: Process, link: HookLink, options: ProfileOptions) -> str:
        """What the snapshot at the end will cost, in a sentence.

        Raises:
            HeadroomError: there is no memory for it, and it is not forced.
            TargetEndedError: it is not listed any more, so nothing can be predicted.
        """
        heap = await link.figures()
        found = next((one for one in self._roster.targets if one.found.pid == target.pid), None)
        if found is None:
            raise TargetEndedError(target.pid, "it is not listed any more", "list the targets")
        predicted = await asyncio.to_thread(self._predicted, found, heap)
        if predicted.refused is not None and not options.force:
            raise predicted.refused
        cost = predicted.estimate.cost
        forced = f"{FORCED_NOTE}{predicted.refused}; " if predicted.refused else ""
        return (
            f"{forced}predicted for the snapshot at the end: a pause of {cost.pause_millis:.0f} ms "
            f"and {predicted.estimate.extra_memory_bytes / _MB:.0f} MiB"
        )

    def _predicted(self, target: Target, heap: HeapFigures) -> Forecast:
        sample = self._roster.sample(target, heap)
        rss = sample.rss_bytes if sample else 0
        size = Size.of(target.process, heap, rss)
        way = Way.HOOK if target.hook is not None else Way.ATTACH
        past = self._history.past(target.id, kin(way, target))
        room = room_of(self._proc, target)
        return forecast(target.process, size, Manner.BLOCKING, past, 0.0, room, 0)
