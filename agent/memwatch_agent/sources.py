"""Asks for the originals of source places, from a process that may fail.

The maps are the target's files: whatever is in them costs that process, never the agent.
"""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

import structlog

from memwatch_proto.v1 import agents_pb2

#: A verdict names a few dozen.
MAX_PLACES = 1_000

#: A map of 64 MB takes about 5 s.
SECONDS = 30

_COMMAND = ("-P", "-m", "memwatch_agent.sourcemaps")

_log = structlog.get_logger(__name__)


async def originals_of(
    root: Path, places: Sequence[agents_pb2.SourcePlace]
) -> list[agents_pb2.SourcePlace]:
    """The original of each place, empty where nothing tells it."""
    found: list[object] = []
    if places:
        asked = [{"script": p.script, "line": p.line, "column": p.column} for p in places]
        found = await _answered(json.dumps({"root": str(root), "places": asked}).encode())
    found += [None] * (len(places) - len(found))
    return [_place(answer) for answer in found]


def _place(answer: object) -> agents_pb2.SourcePlace:
    if not isinstance(answer, dict):
        return agents_pb2.SourcePlace()
    return agents_pb2.SourcePlace(**answer)


async def _answered(request: bytes) -> list[object]:
    """What the program says; nothing where it fails, which is told in the log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate(request)
        return list(json.loads(out)) if process.returncode == 0 else []
    except (TimeoutError, ValueError):
        return []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if process.returncode != 0:
            _log.warning("source maps not read", exit_code=process.returncode)
