"""`hooks.py`: which processes have a hook that answers, asked as seldom as possible."""

import asyncio
import contextlib
import os
import socket
import time as wall
from pathlib import Path

import pytest

from memwatch_agent import hooks as module
from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.hooks import HookFinder, described, greet, socket_name
from tests.agent.fakes import found


def hello(pid=7, start_ticks=100, runtime="node", **changes) -> bytes:
    fields = {
        "protocol": 1,
        "hook_version": "0.1.0",
        "runtime": runtime,
        "runtime_version": "24.1.0",
        "pid": pid,
        "start_ticks": start_ticks,
        "service": "shop",
        "commands": ["info", "heap"],
    }
    return hookwire.json_frame(hookwire.FrameType.HELLO, {**fields, **changes})


@contextlib.asynccontextmanager
async def hook(path: Path, answer: bytes | None):
    """A socket that answers every caller with some bytes, or with silence; counts callers."""
    callers: list[asyncio.StreamWriter] = []

    async def serve(_reader, writer):
        callers.append(writer)
        if answer is not None:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield callers
    finally:
        for writer in callers:
            writer.close()
        server.close()


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def finder(tmp_path, time) -> HookFinder:
    return HookFinder([tmp_path], time, wall.time)


async def test_a_hook_is_found_by_its_name(tmp_path, finder):
    """The socket's name follows from the process; HELLO proves it."""
    async with hook(tmp_path / "node-7-100.sock", hello()):
        hooks = await finder.find([found(), found(8)])

    assert set(hooks) == {7}
    assert hooks[7].socket == tmp_path / "node-7-100.sock"
    assert hooks[7].hello.commands == ("info", "heap")


async def test_a_hook_is_asked_once(tmp_path, finder, time):
    """A socket that answered is not asked again for as long as it is the same socket."""
    async with hook(tmp_path / "node-7-100.sock", hello()) as callers:
        for _ in range(5):
            assert await finder.find([found()])
            await finder.find_invisible([found()], [])
            time.seconds += 100

    assert len(callers) == 1


async def test_a_silent_hook_is_asked_again_later(tmp_path, finder, time, monkeypatch):
    """One that says nothing is left alone for a while and then tried again."""
    monkeypatch.setattr(module.greet, "__defaults__", (0.05,))
    async with hook(tmp_path / "node-7-100.sock", None) as callers:
        for _ in range(3):
            assert await finder.find([found()]) == {}
        assert len(callers) == 1
        time.seconds += module.RETRY_SECONDS + 1
        assert await finder.find([found()]) == {}
        assert len(callers) == 2


async def test_the_process_s_own_folder_is_looked_at(tmp_path, time):
    """MEMWATCH_HOOK_DIR of the process is searched under the process's root."""
    root = tmp_path / "root"
    (root / "hooks").mkdir(parents=True)
    process = found(environ={"MEMWATCH_HOOK_DIR": "/hooks"}, root=root)
    async with hook(root / "hooks/node-7-100.sock", hello()):
        hooks = await HookFinder([], time, time).find([process])

    assert hooks[7].socket == root / "hooks/node-7-100.sock"


async def test_the_pid_in_a_name_is_the_process_s_own(tmp_path, finder):
    """In a pid namespace of its own the process calls itself by another pid."""
    async with hook(tmp_path / "node-1-100.sock", hello(pid=1)):
        hooks = await finder.find([found(4711, inner_pid=1)])

    assert set(hooks) == {4711}


@pytest.mark.parametrize(
    "answer",
    [
        hello(pid=9),
        hello(start_ticks=1),
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff\xff\xff\xff\x01",
        b"\x00\x00\x00\x02\x01[]",
        b"",
        hookwire.json_frame(hookwire.FrameType.RESULT, {"id": 1, "result": {}}),
    ],
)
async def test_a_stranger_on_the_socket_is_no_hook(tmp_path, finder, answer):
    """Who answers for another process, or in other words, is not taken for the hook."""
    async with hook(tmp_path / "node-7-100.sock", answer):
        assert await finder.find([found()]) == {}


async def test_a_hook_of_an_invisible_process_is_found(tmp_path, finder):
    """Beside a sidecar with a pid namespace of its own, the hook alone makes the target."""
    async with hook(tmp_path / "python-1-55.sock", hello(1, 55, "python")):
        ((process, one),) = await finder.find_invisible([found()], [])

    assert (process.pid, process.start_ticks, process.runtime) == (1, 55, Runtime.PYTHON)
    assert not process.visible
    assert process.service == "shop"
    assert one.hello.runtime_version == "24.1.0"


async def test_a_hook_that_lies_about_its_name_is_no_target(tmp_path, finder):
    """An invisible hook must be the one that its socket's name says."""
    async with hook(tmp_path / "python-1-55.sock", hello(1, 56, "python")):
        assert await finder.find_invisible([], []) == []


async def test_an_invisible_process_that_ended_is_gone(tmp_path, finder, time):
    """Its socket is asked again now and then."""
    path = tmp_path / "python-1-55.sock"
    async with hook(path, hello(1, 55, "python")):
        assert len(await finder.find_invisible([], [])) == 1
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    time.seconds += module.RETRY_SECONDS + 1

    assert await finder.find_invisible([], []) == []


@pytest.mark.parametrize(("age", "stays"), [(0, True), (module.LEFTOVER_SECONDS + 5, False)])
async def test_a_leftover_is_removed_when_it_is_old(tmp_path, time, age, stays):
    """A socket without a listener goes, unless it may just be about to listen."""
    path = tmp_path / "node-9-1.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    now = path.lstat().st_ctime + age

    await HookFinder([tmp_path], time, lambda: now).find_invisible([], [])

    assert path.exists() is stays


async def test_only_sockets_with_a_hook_s_name_are_touched(tmp_path, finder):
    """Other files of a shared folder are left alone, and so are links."""
    (tmp_path / "node-1-1.sock").write_text("a file")
    (tmp_path / "node-2-2.sock").symlink_to("/nonexistent")
    (tmp_path / "other.sock").touch()
    before = sorted(os.listdir(tmp_path))

    assert await finder.find([found(1, start_ticks=1), found(2, start_ticks=2)]) == {}
    assert await finder.find_invisible([], []) == []
    assert sorted(os.listdir(tmp_path)) == before


async def test_a_folder_that_is_not_there_is_no_error(tmp_path, time):
    """Hooks may come later."""
    finder = HookFinder([tmp_path / "none"], time, time)

    assert await finder.find([found()]) == {}
    assert await finder.find_invisible([], []) == []


async def test_an_answer_in_pieces_is_put_together(tmp_path):
    """HELLO may come byte by byte."""
    path = tmp_path / "s"

    async def serve(_reader, writer):
        for byte in hello():
            writer.write(bytes([byte]))
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, str(path)):
        answer = await greet(path)
    assert answer is not None
    assert answer.pid == 7


async def test_what_is_asked_is_forgotten_with_its_socket(tmp_path, finder):
    """The memory of sockets does not grow with every process that comes and goes."""
    for pid in range(5):
        async with hook(tmp_path / f"node-{pid}-100.sock", hello(pid)):
            await finder.find([found(pid)])
            await finder.find_invisible([found(pid)], [])
        (tmp_path / f"node-{pid}-100.sock").unlink(missing_ok=True)

    assert len(finder._asked) == 1


def test_a_process_without_a_runtime_has_no_socket():
    """Nothing is looked for where nothing can be."""
    assert socket_name(found(runtime=None)) == ""


async def test_the_hook_knows_version_and_service_best(tmp_path, finder):
    """What HELLO says wins over what was guessed from outside."""
    process = found(version="24", service="guess")
    async with hook(tmp_path / "node-7-100.sock", hello()):
        hooks = await finder.find([process])

    better = described(process, hooks[7])
    assert (better.version, better.service) == ("24.1.0", "shop")
    assert described(process, None) is process
