"""The guardian: programs never outlive the command that started them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatchctl.guardian import MAX_PAUSE_SECONDS, Orders, Program, pause_before_restart
from tests.support.processes import wait_until

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(600)",
]


def give(process, orders):
    """Writes the orders to a guardian."""
    process.stdin.write(orders.to_json() + "\n")
    process.stdin.flush()


@pytest.fixture
def guardian(cli):
    """Starts guardians with orders; ends those that a test left."""
    started = []

    def start(orders):
        process = subprocess.Popen(
            [sys.executable, "-m", "memwatchctl.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=cli.env,
            text=True,
        )
        give(process, orders)
        started.append(process)
        return process

    yield start
    for process in started:
        end(process)


def end(process):
    """Ends a guardian's input, as the end of the command line does."""
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


def event(process):
    """The guardian's next event."""
    return json.loads(process.stdout.readline())


def lives(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_end_of_input_stops_all_and_removes_the_folder(guardian, tmp_path):
    """When the command line closes the pipe, or dies, children and folder are gone."""
    folder = tmp_path / "private"
    folder.mkdir()
    log = folder / "log"
    process = guardian(Orders([Program("one", SLEEP, str(log))], remove=str(folder)))
    pid = event(process)["pid"]
    wait_until(log.exists)
    process.stdin.close()

    assert process.wait(20) == 0
    assert not lives(pid)
    assert not folder.exists()


def test_killed_guardian_takes_its_children_along(guardian):
    """SIGKILL of the guardian itself: the kernel ends the children."""
    process = guardian(Orders([Program("one", SLEEP), Program("two", SLEEP)]))
    pids = [event(process)["pid"] for _ in range(2)]
    os.kill(process.pid, signal.SIGKILL)

    wait_until(lambda: not any(map(lives, pids)))


def test_sigterm_stops_all(guardian):
    """SIGTERM to the guardian is a wish to stop."""
    process = guardian(Orders([Program("one", SLEEP)]))
    pid = event(process)["pid"]
    process.terminate()

    assert process.wait(20) == 0
    assert not lives(pid)


def test_the_stubborn_are_killed(guardian, monkeypatch, cli, tmp_path):
    """A program that ignores SIGTERM is killed after the grace."""
    log = tmp_path / "log"
    code = "from memwatchctl import guardian; guardian.GRACE_SECONDS = 0.3; guardian.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=cli.env, text=True,
    )  # fmt: skip
    with process:
        give(process, Orders([Program("one", STUBBORN, str(log))]))
        pid = event(process)["pid"]
        wait_until(lambda: log.exists() and log.read_text() == "up\n")
        end(process)
    assert not lives(pid)


def test_a_crash_is_told(guardian):
    """A program that ends is told with its code, and not started again unless ordered."""
    process = guardian(Orders([Program("one", [sys.executable, "-c", "exit(3)"])]))

    assert event(process)["event"] == "started"
    assert event(process) == {"event": "ended", "name": "one", "code": 3, "again_in": None}


def test_a_held_program_waits_for_its_name(guardian):
    """A held program starts when its name is told, not before."""
    process = guardian(Orders([Program("one", SLEEP), Program("two", SLEEP, held=True)]))
    assert event(process)["name"] == "one"
    process.stdin.write("nonsense\ntwo\n")
    process.stdin.flush()

    assert event(process)["name"] == "two"


def test_a_crash_is_restarted(guardian):
    """With restart ordered it is started again, after a growing pause."""
    process = guardian(Orders([Program("one", [sys.executable, "-c", "exit(3)"])], restart=True))
    told = [event(process) for _ in range(5)]

    assert [e["event"] for e in told] == ["started", "ended"] * 2 + ["started"]
    assert [e["again_in"] for e in told if e["event"] == "ended"] == [0.5, 1.0]


@given(st.integers(0, 10**6))
def test_pauses_grow_to_a_limit(ends):
    """The pause before a restart never shrinks and never passes its limit."""
    assert 0.5 <= pause_before_restart(ends) <= pause_before_restart(ends + 1) <= MAX_PAUSE_SECONDS
