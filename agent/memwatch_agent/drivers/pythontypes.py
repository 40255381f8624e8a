"""Kind `types` of a Python process: by its C walker where it has one, else by its hook.

The walk pauses the process for its clone alone and finds every object; the counting is the
agent's. Where there is no C walker the hook counts beside the process's own threads.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from memwatch_agent.drivers import dumptypes
from memwatch_agent.drivers.base import PauseSource, Process, Sink
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.errors import CaptureFailedError, RecordingFailedError
from memwatch_agent.drivers.hookprofiles import record_by_hook
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions, RecordFacts
from memwatch_agent.drivers.python import DUMP, PythonHookDriver, PythonLink

#: Rows of one look; a process has some thousand types.
MAX_ROWS = 20_000


async def record_types(
    target: Process,
    kind: ProfileKind,
    options: ProfileOptions,
    sink: Sink,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> RecordFacts:
    """Takes one look, or two where a duration is given; see `Profiler`."""
    async with PythonHookDriver(None).open(target) as link:
        assert isinstance(link, PythonLink)
        walks = DUMP in link.hello.formats and (await link.figures()).walker == "c"
        failed = ""
        if walks:
            try:
                return await _record(target, link, options, sink, started, stop)
            except CaptureFailedError as error:
                failed = f"its walk failed: {error.cause}"
    facts = await record_by_hook(target, kind, options, sink, started, stop)
    return replace(facts, notes=(*facts.notes, failed)) if failed else facts


async def _record(
    target: Process,
    link: PythonLink,
    options: ProfileOptions,
    sink: Sink,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> RecordFacts:
    async with CostMeter(target) as meter:
        started()
        looks, results = [], []
        for number in range(2 if options.duration_seconds else 1):
            if number:
                await _wait(stop, options.duration_seconds)
            look, result = await _look(target, link, options.collect_garbage)
            looks.append(look)
            results.append(result)
        document = {"format": 1, "kind": "types", "method": "walker", "looks": looks}
        data = json.dumps(document, separators=(",", ":")).encode("utf-8", "replace")
        await sink(data)
        facts = link.facts_of(len(data), meter, max(results, key=_pause))
    return RecordFacts(
        size_bytes=len(data),
        content_type="application/json",
        extension="json",
        pause_millis=facts.pause_millis,
        pause_source=PauseSource.RUNTIME,
        cpu_millis=facts.cpu_millis,
        extra_memory_bytes=facts.extra_memory_bytes,
        rss_before_bytes=facts.rss_before_bytes,
        rss_after_bytes=facts.rss_after_bytes,
        duration_millis=facts.duration_millis,
        notes=("method: walker", *facts.notes),
    )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def _look(
    target: Process, link: PythonLink, collect: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One look, and what the hook says that it cost."""
    at = time.time()
    dump, result = await link.dumped({"gc": collect})
    try:
        rows = await asyncio.to_thread(dumptypes.count, dump)
    except dumptypes.DumpError as error:
        raise RecordingFailedError(target.pid, str(error), "record it again") from error
    finally:
        os.close(dump)
    rows.sort(key=lambda row: (-row[2], -row[1], row[0]))
    look = {
        "time_millis": int(at * 1000),
        "count": sum(row[1] for row in rows),
        "size_bytes": sum(row[2] for row in rows),
        "types": len(rows),
        "rows": rows[:MAX_ROWS],
    }
    return look, result


def _pause(result: Mapping[str, Any]) -> float:
    said = result.get("pause_millis")
    return float(said) if isinstance(said, int | float) else 0.0
