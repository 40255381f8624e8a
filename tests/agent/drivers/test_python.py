"""`drivers/python.py`: a dump comes as a file, is converted here, and may be anything."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers import converter
from memwatch_agent.drivers.base import Bounds, HeapWalk, Process, Runtime
from memwatch_agent.drivers.converter import Converter
from memwatch_agent.drivers.errors import CaptureFailedError
from memwatch_agent.drivers.hookwire import FrameType, frame, json_frame
from memwatch_agent.drivers.python import PythonHookDriver
from tests.agent.drivers.apps import Collected
from tests.agent.drivers.test_hook import RESULT, SNAPSHOT, hello, us
from tests.hook import walkers
from tests.hook.client import Heap, wait_for_sockets
from tests.support import processes

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "heap_dump.json").read_text())
OPTIONS: list[dict[str, object]] = []  # of all requests to `sending`
GOLDEN = bytes.fromhex(VECTORS["dumps"][0]["hex"])
PLANTED = """
class Order: pass
ORDERS = [Order() for number in range(4321)]
print("ready", flush=True)
import time; time.sleep(60)
"""


@contextlib.asynccontextmanager
async def sending(
    folder: Path, dump: bytes | None, *, formats: tuple[str, ...] = ("dump",), **changed: object
) -> AsyncIterator[Process]:
    """A hook that answers a request for a heap with a dump's descriptor, or with none."""
    told = {"size_bytes": len(dump or b""), "pause_millis": 1.5, "rss_bytes": 9999, **changed}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(hello(formats=list(formats)))
            head = await reader.readexactly(5)
            asked = json.loads(await reader.readexactly(int.from_bytes(head[:4], "big")))
            OPTIONS.append(asked["options"])
            if asked["options"].get("format") != "dump":
                writer.write(frame(FrameType.DATA, SNAPSHOT))
                writer.write(json_frame(FrameType.RESULT, {"id": 1, "result": RESULT}))
                await writer.drain()
            else:
                answer = json_frame(FrameType.RESULT, {"id": 1, "result": told})
                _send(writer, answer, dump)
            await reader.read()  # until the agent hangs up
        writer.close()

    path = folder / "hook.sock"
    async with await asyncio.start_unix_server(serve, path):
        yield us(path)


def _send(writer: asyncio.StreamWriter, answer: bytes, dump: bytes | None) -> None:
    number = writer.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(number)) as raw, tempfile.TemporaryFile() as file:
        file.write(dump or b"")
        file.flush()
        socket.send_fds(raw, [answer], [] if dump is None else [file.fileno()])


async def capture(target: Process, using: Converter | None, bounds: Bounds | None = None):
    """A snapshot through the driver: its bytes and facts."""
    sink = Collected()
    async with PythonHookDriver(using).open(target) as link:
        if bounds is None:
            facts = await link.capture(sink.take, lambda _: None)
        else:
            facts = await link.capture_forked(sink.take, lambda _: None, bounds)
    return sink.data, facts


def own_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def check_descriptors(count: int) -> None:
    """No descriptor stays; the loop may need a moment to close its own."""
    wanted = lambda: own_descriptors() <= count  # noqa: E731
    await asyncio.to_thread(processes.wait_until, wanted, 5, f"{count} descriptors")


async def test_a_dump_becomes_a_snapshot(tmp_path):
    """The golden dump arrives as the snapshot it stands for; the record says what the walk saw."""
    using, before = converter.find(), own_descriptors()
    assert using is not None
    async with sending(tmp_path, GOLDEN, way="clone", walk_millis=7, objects=5) as target:
        data, facts = await capture(target, using)

    heap = Heap.parse(data)
    assert [heap.names[7], facts.size_bytes, facts.objects] == ["type", len(data), 7]
    assert facts.walk is not None
    assert facts.walk.convert_millis > 0
    assert facts.walk == HeapWalk(
        "python", "clone", 7, 1626, 9999, 7, len(GOLDEN), facts.walk.convert_millis
    )
    await check_descriptors(before)


async def test_without_dump_or_converter_it_is_text(tmp_path):
    """A hook that knows no dumps, and an agent without a converter, use the older road."""
    using = converter.find()
    async with sending(tmp_path, GOLDEN, formats=()) as target:
        assert (await capture(target, using))[0] == SNAPSHOT
    async with sending(tmp_path, GOLDEN) as target:
        data, facts = await capture(target, None)
    assert (data, facts.walk) == (SNAPSHOT, None)


async def test_a_capture_has_bounds(tmp_path):
    """A deadline and memory for the child, a size for the dump: all that a hook understands."""
    using, bounds = converter.find(), Bounds(2.5, 7_000_000, 1 << 40)
    async with sending(tmp_path, GOLDEN) as target:
        await capture(target, using, bounds)
    assert OPTIONS[-1] == {
        "format": "dump",
        "sites": True,
        "deadline_millis": 2500,
        "max_extra_bytes": 7_000_000,
        "max_bytes": 16 << 30,
    }
    async with sending(tmp_path, GOLDEN, formats=()) as target:
        await capture(target, using, Bounds(1e9))
    assert OPTIONS[-1] == {"deadline_millis": 900_000}
    async with sending(tmp_path, GOLDEN) as target:
        await capture(target, using)
    assert OPTIONS[-1] == {"format": "dump", "sites": True}


@pytest.mark.parametrize(
    ("dump", "changed", "cause"),
    [
        (None, {}, "sent no heap dump"),
        (GOLDEN, {"size_bytes": 7}, "tells of 7"),
        (GOLDEN[:-9], {}, "cut short"),
        (b"", {}, "does not begin like one"),
        (GOLDEN.replace(b'"objects":7', b'"objects":8'), {}, "its end tells of 8"),
    ],
    ids=["none", "another size", "cut", "empty", "wrong counts"],
)
async def test_a_dump_that_is_wrong_fails_the_capture(tmp_path, dump, changed, cause):
    """Whatever a hook hands over ends in one sentence with the reason; no descriptor stays."""
    before = own_descriptors()
    async with sending(tmp_path, dump, **changed) as target:
        with pytest.raises(CaptureFailedError, match=cause):
            await capture(target, converter.find())
    await check_descriptors(before)


def program(folder: Path, lines: str) -> Converter:
    """A converter that is another program."""
    file = folder / "converter"
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)
    return Converter(folder, str(file))


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ("kill -SEGV $$", "killed by signal 11"),
        ("exit 3", "status 3"),
        ("echo '{}' >&2", "it says"),
        ("echo 'cannot convert it: a reason' >&2; exit 1", "a reason"),
        ("exec sleep 60", "not in 0 s"),
    ],
    ids=["crash", "status", "nonsense", "reason", "hang"],
)
async def test_a_converter_that_breaks_fails_the_capture(tmp_path, monkeypatch, lines, cause):
    """A converter that crashes, hangs or babbles ends the capture with the reason, and is gone."""
    monkeypatch.setattr(converter, "SECONDS", 0 if "sleep" in lines else 10)
    async with sending(tmp_path, GOLDEN, objects=0) as target:
        with pytest.raises(CaptureFailedError, match=cause):
            await capture(target, program(tmp_path, lines))
    assert children() == []


async def test_a_capture_that_is_cancelled_ends_its_converter(tmp_path):
    """Nobody is left converting for nobody."""
    async with sending(tmp_path, GOLDEN) as target:
        running = asyncio.create_task(capture(target, program(tmp_path, "exec sleep 60")))
        await asyncio.to_thread(processes.wait_until, children)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert children() == []


def children() -> list[int]:
    """Our own children, zombies too."""
    own = os.getpid()
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    stats = ((number, procfs.stat(f"/proc/{number}")) for number in numbers)
    return [number for number, stat in stats if stat is not None and stat.parent == own]


@pytest.mark.parametrize("walker", walkers.WALKERS)
async def test_a_real_process_is_captured(hook_folder, walker):
    """A Python process's heap, by a dump: every planted object, and memory that nobody explains."""
    log = hook_folder / "log"
    env = {"MEMWATCH_HOOK_DIR": str(hook_folder), **walkers.environment(walker)}
    with processes.running([sys.executable, "-c", PLANTED], env=env, log=log) as app:
        [path] = wait_for_sockets(hook_folder, pid=app.pid)
        processes.wait_until(lambda: b"ready" in log.read_bytes())
        found = procfs.stat(f"/proc/{app.pid}")
        assert found is not None
        target = Process(app.pid, found.start_ticks, Runtime.PYTHON, hook_socket=path)
        async with PythonHookDriver(None).open(target) as link:
            figures = await link.figures()
        with pytest.raises(CaptureFailedError, match="the dump has grown past 10000 bytes"):
            await capture(target, converter.find(), Bounds(artifact_bytes=10_000))
        data, facts = await capture(target, converter.find(), Bounds(60.0, 1 << 30, 1 << 30))
    heap, walk = Heap.parse(data), facts.walk
    assert heap.count("__main__.Order") == 4321
    assert walk is not None
    assert figures.walker == walk.walker == {"py": "python", "c": "c"}[walker]
    assert walk.heap_bytes == sum(
        size for size, kind in zip(heap.sizes, heap.types, strict=True) if kind != "synthetic"
    )
    assert walk.objects == facts.objects == len([t for t in heap.types if t != "synthetic"])
    assert walk.rss_bytes > walk.heap_bytes > 0
    assert walk.dump_bytes < 20 * walk.objects


@pytest.fixture
def hook_folder():
    """A hook directory with a short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mwp") as folder:
        yield Path(folder)
