"""`drivers/hook.py`: a hook lives in a stranger's process, and may say anything."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers import hook, hookwire
from memwatch_agent.drivers.base import (
    CaptureFacts,
    HeapFigures,
    PauseSource,
    Process,
    Progress,
    Runtime,
    Stage,
)
from memwatch_agent.drivers.errors import (
    CaptureFailedError,
    InspectorNotTargetError,
    NoWayInError,
    TargetBusyError,
    TargetEndedError,
)
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.hookwire import FrameType
from tests.agent.drivers.apps import Collected

SNAPSHOT = b'{"snapshot":{},"nodes":[]}'
RESULT = {"size_bytes": len(SNAPSHOT), "objects": 3, "pause_millis": 1.5, "cpu_millis": 2}


def us(socket: Path | None) -> Process:
    """This very process as a target, so that the kernel's proof of the peer holds."""
    found = procfs.stat(f"/proc/{os.getpid()}")
    assert found is not None
    return Process(os.getpid(), found.start_ticks, Runtime.PYTHON, hook_socket=socket)


def hello(**changed: object) -> bytes:
    """HELLO of this process."""
    fields = {
        "protocol": 1,
        "hook_version": "0.1.0",
        "runtime": "python",
        "runtime_version": "3.11.7",
        "pid": os.getpid(),
        "start_ticks": us(None).start_ticks,
        "service": "",
        "commands": [],
    }
    return hookwire.json_frame(FrameType.HELLO, {**fields, **changed})


def result(**changed: object) -> bytes:
    """RESULT of a first request for a heap."""
    return hookwire.json_frame(FrameType.RESULT, {"id": 1, "result": {**RESULT, **changed}})


@contextlib.asynccontextmanager
async def saying(folder: Path, greeting: bytes, answer: bytes = b"") -> AsyncIterator[Process]:
    """A hook that says a greeting, waits for one request, says an answer and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(greeting)
            head = await reader.readexactly(5)
            await reader.readexactly(int.from_bytes(head[:4], "big"))
            writer.write(answer)
            await writer.drain()
        writer.close()

    path = folder / "hook.sock"
    async with await asyncio.start_unix_server(serve, path):
        yield us(path)


async def capture(target: Process) -> tuple[bytes, CaptureFacts, list[Progress]]:
    """A snapshot through the driver."""
    sink, reports = Collected(), list[Progress]()
    async with HookDriver().open(target) as link:
        facts = await link.capture(sink.take, reports.append)
    return sink.data, facts, reports


async def test_a_snapshot_and_its_facts(tmp_path):
    """DATA goes to the sink in order, PROGRESS to the caller, RESULT into the facts."""
    progress = {"id": 1, "stage": "walking", "done": 1, "total": 3}
    answer = (
        hookwire.json_frame(FrameType.PROGRESS, progress)
        + hookwire.frame(FrameType.DATA, SNAPSHOT[:5])
        + hookwire.frame(FrameType.DATA, SNAPSHOT[5:])
        + result(notes=["forked"])
    )
    async with saying(tmp_path, hello(), answer) as target:
        data, facts, reports = await capture(target)

    assert data == SNAPSHOT
    assert (facts.size_bytes, facts.objects, facts.cpu_millis) == (len(SNAPSHOT), 3, 2)
    assert (facts.pause_millis, facts.pause_source) == (1.5, PauseSource.RUNTIME)
    assert facts.notes == ("forked",)
    assert reports == [Progress(Stage.CAPTURING, 1, 3)]


@pytest.mark.parametrize("lie", [None, float("inf"), float("nan"), -1, "long", True, 1e300])
async def test_a_pause_that_cannot_be_is_measured_from_here(tmp_path, lie):
    """Without a believable figure the whole duration is the upper bound."""
    answer = hookwire.frame(FrameType.DATA, SNAPSHOT) + result(pause_millis=lie, objects=lie)
    async with saying(tmp_path, hello(), answer) as target:
        _, facts, _ = await capture(target)

    assert facts.pause_source is PauseSource.ROUND_TRIP
    assert facts.pause_millis > 0
    assert facts.objects is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SNAPSHOT, result(size_bytes=7)),
        (SNAPSHOT[:-1], result(size_bytes=len(SNAPSHOT) - 1)),
        (b"x" + SNAPSHOT, result(size_bytes=len(SNAPSHOT) + 1)),
        (b"", result(size_bytes=0)),
        (SNAPSHOT, result(size_bytes=None)),
    ],
    ids=["wrong size", "cut", "no JSON", "nothing", "no size"],
)
async def test_an_artifact_that_is_not_whole_is_refused(tmp_path, data, said):
    """A snapshot that ends too early is no snapshot."""
    answer = hookwire.frame(FrameType.DATA, data) + said
    async with saying(tmp_path, hello(), answer) as target:
        with pytest.raises(CaptureFailedError, match="bytes of a snapshot"):
            await capture(target)


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (hello(start_ticks=1), InspectorNotTargetError),
        (hello(protocol=2), NoWayInError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NoWayInError),
        (hookwire.frame(FrameType.DATA, b"x"), NoWayInError),
    ],
    ids=["another process", "another version", "no hook", "no HELLO"],
)
async def test_a_greeting_that_is_not_the_targets(tmp_path, greeting, error):
    """Who does not greet as the target in words we know is not spoken to."""
    async with saying(tmp_path, greeting) as target:
        with pytest.raises(error):
            await capture(target)


async def test_a_hook_that_says_nothing(tmp_path, monkeypatch):
    """Silence is bounded."""
    monkeypatch.setattr(hook, "ANSWER_SECONDS", 0.1)
    async with saying(tmp_path, b"") as target:
        with pytest.raises(NoWayInError, match="says nothing"):
            await capture(target)


@pytest.mark.parametrize(
    ("reason", "error"),
    [("BUSY", TargetBusyError), ("CHILD_FAILED", CaptureFailedError), ("?", CaptureFailedError)],
)
async def test_a_refusal_has_its_own_error(tmp_path, reason, error):
    """What the hook says stands in the message."""
    fields = {"id": 1, "reason": reason, "message": "cannot fork: no memory"}
    answer = hookwire.json_frame(FrameType.ERROR, fields)
    async with saying(tmp_path, hello(), answer) as target:
        with pytest.raises(error) as raised:
            await capture(target)

    assert reason == "BUSY" or "no memory" in str(raised.value)


async def test_a_connection_that_is_cut(tmp_path):
    """Half a snapshot is a failed capture, of a target that is alive."""
    async with saying(tmp_path, hello(), hookwire.frame(FrameType.DATA, SNAPSHOT[:7])) as target:
        with pytest.raises(CaptureFailedError, match="half-way"):
            await capture(target)


async def test_a_target_that_is_gone(tmp_path):
    """A cut connection of a process that ended is the process's end."""
    gone = Process(2**22, 1, Runtime.PYTHON, hook_socket=tmp_path / "nobody.sock")
    with pytest.raises(TargetEndedError):
        await capture(gone)


async def test_a_target_in_another_pid_namespace_is_known_by_its_hello(tmp_path):
    """Where /proc shows nothing of the target, HELLO must name it, and costs are the hook's."""
    answer = hookwire.frame(FrameType.DATA, SNAPSHOT) + result(extra_memory_bytes=77)
    async with saying(tmp_path, hello(pid=7, start_ticks=9), answer) as target:
        inner = Process(7, 9, Runtime.PYTHON, hook_socket=target.hook_socket, visible=False)
        _, facts, _ = await capture(inner)
        assert (facts.extra_memory_bytes, facts.rss_before_bytes) == (77, 0)
        other = Process(8, 9, Runtime.PYTHON, hook_socket=target.hook_socket, visible=False)
        with pytest.raises(InspectorNotTargetError):
            await capture(other)


@pytest.mark.parametrize(
    ("stats", "figures"),
    [
        ({"heap": {"used_heap_bytes": 5, "heap_limit_bytes": 9}}, HeapFigures(5, 9, None)),
        ({"gc_objects": 12, "allocated_blocks": 40}, HeapFigures(None, None, 12)),
        ({"heap": [], "memory": "x", "gc_objects": -1}, HeapFigures()),
        ({}, HeapFigures()),
    ],
)
async def test_figures_of_either_runtime(tmp_path, stats, figures):
    """V8's bytes, CPython's objects, or nothing; never a guess."""
    answer = hookwire.json_frame(FrameType.RESULT, {"id": 1, "result": stats})
    async with saying(tmp_path, hello(), answer) as target, HookDriver().open(target) as link:
        assert await link.figures() == figures
