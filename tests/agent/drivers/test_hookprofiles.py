"""`drivers/hookprofiles.py`: a real hook records; one that lies is not believed."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.base import PauseSource, Process, Runtime
from memwatch_agent.drivers.errors import (
    KindUnsupportedError,
    NoHeadroomError,
    ProfilerMissingError,
    RecordingFailedError,
    TargetBusyError,
)
from memwatch_agent.drivers.hookprofiles import record_by_hook
from memwatch_agent.drivers.hookwire import FrameType
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions
from tests.agent.drivers.apps import Collected
from tests.agent.drivers.test_hook import hello, saying
from tests.hook.client import wait_for_sockets
from tests.hook.walkers import environment
from tests.support import processes

APP = """
import time
kept = []
while True:
    kept.append(bytes(1000))
    time.sleep(0.002)
"""


def ignore() -> None:
    """Nobody wants to know that it has begun."""


async def test_a_real_hook_records_until_it_is_stopped():
    """The artifact comes with its cost; the target's tracing is over."""
    with tempfile.TemporaryDirectory(prefix="mwh") as folder:
        env = {"MEMWATCH_HOOK_DIR": folder, **environment("py")}
        with processes.running(
            [sys.executable, "-c", APP], env=env, log=Path(folder) / "log"
        ) as app:
            [socket] = wait_for_sockets(Path(folder), pid=app.pid)
            found = procfs.stat(f"/proc/{app.pid}")
            assert found is not None
            target = Process(app.pid, found.start_ticks, Runtime.PYTHON, hook_socket=socket)
            sink, begun, stop = Collected(), asyncio.Event(), asyncio.Event()
            options = ProfileOptions(duration_seconds=600)
            recording = asyncio.create_task(
                record_by_hook(target, ProfileKind.ALLOCATIONS, options, sink.take, begun.set, stop)
            )
            await asyncio.wait_for(begun.wait(), 20)
            await asyncio.sleep(0.3)
            stop.set()
            facts = await asyncio.wait_for(recording, 20)

    document = json.loads(sink.data)
    assert facts.size_bytes == len(sink.data)
    assert document["after"]["count"] > 5
    assert (facts.content_type, facts.extension) == ("application/json", "json")
    assert facts.pause_source is PauseSource.RUNTIME
    assert facts.extra_memory_bytes > 0
    assert any("overhead" in note for note in facts.notes)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("UNSUPPORTED", KindUnsupportedError),
        ("MISSING", ProfilerMissingError),
        ("HEADROOM", NoHeadroomError),
        ("BUSY", TargetBusyError),
        ("FAILED", RecordingFailedError),
        ("NEW", RecordingFailedError),
    ],
)
async def test_what_a_hook_refuses(tmp_path, reason, error):
    """Each reason of the wire has its error, with the hook's own words."""
    answer = hookwire.json_frame(
        FrameType.ERROR, {"id": 1, "reason": reason, "message": "cannot do it"}
    )
    with pytest.raises(error, match="cannot do it"):
        await asked(tmp_path, answer)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"", "half-way"),
        (
            hookwire.json_frame(FrameType.RESULT, {"id": 1, "result": {"size_bytes": 7}}),
            "sent 0 bytes of a profile of 7",
        ),
    ],
)
async def test_a_hook_that_breaks_off_or_lies(tmp_path, answer, match):
    """Nothing of it is believed."""
    with pytest.raises(Exception, match=match):
        await asked(tmp_path, answer)


async def test_an_older_hook_records_nothing(tmp_path):
    """It does not list the command: it is not asked."""
    with pytest.raises(KindUnsupportedError, match="update its hook"):
        await asked(tmp_path, b"", commands=["info"])


async def asked(folder, answer, commands=("profile",)):
    """Asks a hook that answers so."""
    async with saying(folder, hello(commands=list(commands)), answer) as target:
        return await record_by_hook(
            target,
            ProfileKind.TYPES,
            ProfileOptions(),
            Collected().take,
            ignore,
            asyncio.Event(),
        )
