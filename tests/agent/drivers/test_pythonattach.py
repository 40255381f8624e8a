"""`pythonattach.py`: a hook put into a Python that has none, only where that was asked for."""

import asyncio
import sys
from pathlib import Path

import pytest

from memwatch_agent.drivers import pythonattach as module
from memwatch_agent.drivers.base import Process, Runtime
from memwatch_agent.drivers.errors import CaptureFailedError, NoWayInError
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.pythonattach import AttachPython, PythonAttachDriver, obstacle, refusal
from memwatch_agent.procfs import stat
from tests.support.processes import running, wait_until
from tests.support.runtimes import NEXT_PYTHON_MINOR, ROOT, python

OFF, REMOTE, INJECT = AttachPython.OFF, AttachPython.REMOTE_EXEC, AttachPython.INJECT
SLEEPY = "import time; print('ready', flush=True)\nwhile True: time.sleep(0.02)"


@pytest.mark.parametrize(
    ("way", "version", "threads", "same_root", "reason"),
    [
        (OFF, "3.11", 1, True, "the agent was not told to enter"),
        (INJECT, "3.11", 1, True, ""),
        (INJECT, "3.9.18", 1, True, ""),
        (INJECT, "3.11", 2, True, "it has 2 threads, and to inject into such a process may stop"),
        (INJECT, "3.11", 0, True, "it has 0 threads"),
        (INJECT, "3.14", 1, True, "injection was never tried on CPython 3.14"),
        (INJECT, "", 1, True, "the version of its CPython is not known"),
        (INJECT, "3.11", 1, False, "its files are not the agent's"),
        (REMOTE, "3.14.2", 9, True, ""),
        (REMOTE, "3.13", 1, True, "sys.remote_exec comes with CPython 3.14"),
    ],
)
def test_who_may_be_entered(way, version, threads, same_root, reason):
    """Each obstacle is named; without one the process is entered."""
    told = obstacle(way, version, threads, same_root)

    assert told.startswith(reason)
    assert bool(told) == bool(reason)


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        (None, ""),
        ({"PYTHON_DISABLE_REMOTE_DEBUG": ""}, ""),
        ({"PYTHON_DISABLE_REMOTE_DEBUG": "1"}, "it has PYTHON_DISABLE_REMOTE_DEBUG=1"),
    ],
)
def test_a_switch_in_its_environment_is_an_obstacle(environ, reason):
    """What is switched off is told before anything is tried."""
    assert obstacle(REMOTE, "3.14", 1, True, environ) == reason


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("RuntimeError: Remote debugging is not enabled in the remote process", "was started with"),
        ("PermissionError: [Errno 13] Permission denied: '/proc/7/maps'", "may not write into its"),
        ("NotImplementedError: …", "was built without remote debugging"),
        ("ZeroDivisionError: division by zero", ""),
    ],
)
def test_the_interpreter_s_refusals_are_named(said, meaning):
    """What `sys.remote_exec` says becomes a cause; the rest is quoted."""
    assert meaning in refusal(said)
    assert bool(refusal(said)) == bool(meaning)


def process(pid, folder, **changes):
    found = stat(f"/proc/{pid}")
    assert found is not None
    fields = {
        "pid": pid,
        "start_ticks": found.start_ticks,
        "runtime": Runtime.PYTHON,
        "version": "3.11",
        "uid": 0,
        "exe": sys.executable,
        "environ": {"MEMWATCH_HOOK_DIR": str(folder)},
    }
    return Process(**{**fields, **changes})


async def test_a_process_with_one_thread_is_injected_captured_and_goes_on(tmp_path):
    """The hook is loaded once, answers, stays, and the next capture needs no second injection."""
    pytest.importorskip("hypno", reason="no hypno: install memwatch[attach-python]")
    import os

    with running(
        [sys.executable, "-c", SLEEPY],
        env={"MEMWATCH_HOOK_DIR": str(tmp_path), "PYTHONPATH": ""},
        log=tmp_path / "log",
    ) as target:
        wait_until(lambda: "ready" in (tmp_path / "log").read_text())
        driver = PythonAttachDriver(INJECT, lambda: ROOT / "hook", HookDriver())
        taken = bytearray()

        async def sink(data):
            taken.extend(data)

        async with driver.open(process(target.pid, tmp_path)) as link:
            facts = await link.capture(sink, lambda _: None)
        assert facts.size_bytes == len(taken) > 100_000
        assert "the hook was loaded by inject and stays" in facts.notes
        assert len(os.listdir(f"/proc/{target.pid}/task")) == 2
        async with driver.open(process(target.pid, tmp_path)) as link:
            assert (await link.stats())["gc"]
        assert target.poll() is None


@pytest.mark.parametrize(
    ("attach", "changes", "folder"),
    [
        (OFF, {}, ROOT / "hook"),
        (INJECT, {"version": "3.14"}, ROOT / "hook"),
        (INJECT, {"root": Path("/proc/1/root")}, ROOT / "hook"),
        (INJECT, {}, None),
    ],
)
async def test_nothing_is_touched_without_need(tmp_path, monkeypatch, attach, changes, folder):
    """What may not be entered is refused before any loader runs."""

    async def never(*_):
        raise AssertionError

    monkeypatch.setattr(module, "_run", never)
    monkeypatch.setattr(module, "threads_of", lambda _: 1)
    with running(["/bin/sleep", "60"]) as target:
        one = process(target.pid, tmp_path, **changes)
        opening = PythonAttachDriver(attach, lambda: folder, HookDriver()).open(one)
        with pytest.raises(NoWayInError):
            await opening.__aenter__()


def remotely():
    return PythonAttachDriver(REMOTE, lambda: Path("/opt/hook"), HookDriver())


async def test_remote_exec_is_asked_of_the_target_s_own_interpreter(tmp_path):
    """The command and the script that 3.14 gets, kept by a stand-in."""
    own = tmp_path / "python3.14"
    own.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncp "$5" {tmp_path}/script\nexit 3\n')
    own.chmod(0o755)
    with running(["/bin/sleep", "60"]) as target:
        one = process(target.pid, tmp_path, version="3.14.2", exe=str(own))
        with pytest.raises(CaptureFailedError, match="could not be loaded"):
            async with remotely().open(one):
                pass
        asked = (tmp_path / "asked").read_text()
    assert asked.startswith(
        f"-I -c import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2]) {target.pid} "
    )
    script = (tmp_path / "script").read_text()
    compile(script, "load.py", "exec")
    assert "/opt/hook" in script


NEWEST = python(NEXT_PYTHON_MINOR)
# Waits in C until it is told to run, and then tells what the script has done to its names.
WAITING = """
import os, select, sys
print("ready", flush=True)
os.read(0, 1)
for _ in range(100):
    select.select([], [], [], 0.02)
print(sorted(name for name in globals() if "memwatch" in name or "folder" in name), flush=True)
while True:
    select.select([], [], [], 0.02)
"""


def waiting(folder, *options, **env):
    """WAITING under CPython 3.14: the block's program and the end of a pipe that wakes it."""
    return running(
        ["sh", "-c", f'exec "$0" "$@" < {folder}/pipe', str(NEWEST), *options, "-c", WAITING],
        env={"MEMWATCH_HOOK_DIR": str(folder), "PYTHONPATH": "", **env},
        log=folder / "log",
    )


@pytest.mark.skipif(
    NEWEST is None, reason="no CPython 3.14: python -m tests.support.debian_python makes one"
)
async def test_a_real_remote_exec(tmp_path, monkeypatch):
    """A blocked process loads the hook when it runs again, and is captured; refusals are named."""
    import os

    monkeypatch.setattr(module, "LISTEN_SECONDS", 0.5)
    driver = PythonAttachDriver(REMOTE, lambda: ROOT / "hook", HookDriver())
    os.mkfifo(tmp_path / "pipe")
    feed = os.open(tmp_path / "pipe", os.O_RDWR)
    taken, log = bytearray(), tmp_path / "log"

    async def sink(data):
        taken.extend(data)

    with waiting(tmp_path) as target:
        wait_until(lambda: "ready" in log.read_text())
        one = process(target.pid, tmp_path, version="3.14", exe=str(NEWEST))
        with pytest.raises(CaptureFailedError, match="it loads the hook when it next runs"):
            async with driver.open(one):
                pass
        os.write(feed, b"\n")
        wait_until(lambda: "[" in log.read_text())
        async with driver.open(one) as link:
            facts = await link.capture(sink, lambda _: None)
        assert facts.size_bytes == len(taken) > 100_000
        assert log.read_text().splitlines() == ["ready", "[]"]  # no error, no name of ours
    with waiting(tmp_path, "-X", "disable-remote-debug") as target:
        wait_until(lambda: log.read_text().count("ready") == 2)
        one = process(target.pid, tmp_path, version="3.14", exe=str(NEWEST))
        with pytest.raises(NoWayInError, match="-X disable-remote-debug"):
            async with driver.open(one):
                pass
    os.close(feed)


async def test_a_loader_that_hangs_is_told(tmp_path, monkeypatch):
    """It is not killed, for that would leave the target half changed."""
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.2)
    own = tmp_path / "python3.14"
    own.write_text("#!/bin/sh\nsleep 0.5\n")
    own.chmod(0o755)
    with running(["/bin/sleep", "60"]) as target:
        one = process(target.pid, tmp_path, version="3.14.2", exe=str(own))
        with pytest.raises(CaptureFailedError, match=r"not ended within 0\.2 s.*may stand"):
            async with remotely().open(one):
                pass
    await asyncio.sleep(0.5)  # the loader ends by itself
