"""Sessions whose capture child comes to grief: the app serves on, the session says what happened.

A child that crashes, one that hangs, and one whose agent is killed under it, in Python and Node.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.agent.test_memory_limit import children
from tests.hook import walkers
from tests.hook_node.forking import addon
from tests.support import runtimes
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import APPS, NODE_HOOK, Stack, unique

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]


@dataclass(frozen=True)
class App:
    """A service whose children are ended in the way that it is told.

    Attributes:
        say: chooses the way, and returns the pid that answers.
    """

    stack: Stack
    pid: int
    target_id: str
    say: Callable[[str], int]

    def session(self) -> str:
        """Starts a session of two snapshots, which a child must write; its id."""
        words = ("capture", self.target_id, "--timeframe", "1s", "--pause", "never", "--detach")
        return self.stack.ctl(*words).stdout.strip()

    def child(self) -> int:
        """The child that writes a snapshot, once there is one."""
        wait_until(lambda: children(self.pid), 60, "a child")
        return children(self.pid)[0]

    def failed(self, session_id: str, sentence: str) -> None:
        """Sees that a session fails with that reason, and that the app serves on."""
        session = self.stack.wait_for_state(session_id, "FAILED", "SUCCEEDED")
        error = session.get("error", {})
        assert session["state"] == "SESSION_STATE_FAILED"
        assert error["phase"] == "capturing_before"
        assert re.search(sentence, error["message"]), error
        self.served_on()

    def succeeded(self, session_id: str, note: str) -> None:
        """Sees that a session succeeds after all, and tells what befell its first snapshot."""
        session = self.stack.wait_for_state(session_id, "FAILED", "SUCCEEDED")
        assert session["state"] == "SESSION_STATE_SUCCEEDED", session.get("error")
        before, after = session["targets"][0]["snapshots"]
        assert note in " ".join(before.get("notes", ())), before
        assert "notes" not in after or note not in " ".join(after["notes"])
        self.served_on()

    def served_on(self) -> None:
        """Sees that the same process answers, and that no child of ours is left to it."""
        wait_until(lambda: not children(self.pid), 60, "no child is left")
        assert self.say("nothing") == self.pid


@contextlib.contextmanager
def python_app(stack: Stack) -> Iterator[App]:
    """`troubled.py`, which is told by lines, with the C walker."""
    python = runtimes.python("3.11")
    try:
        env = walkers.environment("c")
    except LookupError as cause:
        pytest.skip(f"no C walker: {cause}")
    service = unique("troubled")
    env |= {"MEMWATCH_SERVICE_NAME": service, "MEMWATCH_HOOK_DIR": str(stack.hooks)}
    command = [str(python), str(APPS / "hook" / "troubled.py"), str(stack.folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env={**os.environ, **env}, stdin=pipe, stdout=pipe, text=True
    ) as target:
        assert target.stdin is not None and target.stdout is not None
        hears, says = target.stdin, target.stdout

        def say(word: str) -> int:
            hears.write(word + "\n")
            hears.flush()
            assert says.readline().strip() == word
            return target.pid

        try:
            assert says.readline().strip() == "ready"
            say("freeze")
            yield App(stack, target.pid, stack.wait_for_target(service), say)
            assert target.poll() is None
        finally:
            target.kill()


@contextlib.contextmanager
def node_app(stack: Stack) -> Iterator[App]:
    """`troubled.cjs`, which is told by HTTP, with the hook and its addon."""
    addon()
    node = runtimes.any_node()
    if node is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    port, service, fifo = free_port(), unique("troubled"), stack.folder / "fifo"
    os.mkfifo(fifo)
    env = {"MEMWATCH_SERVICE_NAME": service, "MEMWATCH_HOOK_DIR": str(stack.hooks)}
    env |= {"NODE_OPTIONS": f"--require={NODE_HOOK}", "FIFO": str(fifo)}

    def ask(path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return dict(json.load(answer))

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(ask("/"))
        return False

    with running([node, APPS / "node" / "troubled.cjs", str(port)], env=env) as process:
        wait_until(answers)
        yield App(
            stack,
            process.pid,
            stack.wait_for_target(service),
            lambda word: int(ask(f"/way/{word}")["pid"]),
        )
        assert process.poll() is None


def reader_lost(app: App, hangs: str) -> None:
    """The agent killed while a child hangs: it goes too, and the next agent takes the snapshot."""
    app.say(hangs)
    session_id = app.session()
    app.child()
    app.stack.agent.kill()
    app.served_on()
    app.stack.start_agent()
    app.succeeded(session_id, "not had at the first try: ")


def test_a_child_that_fails_costs_itself_alone(shared_stack: Stack) -> None:
    """A crash and a deadline are told in words; an agent that is killed takes its child along."""
    with python_app(shared_stack) as python, node_app(shared_stack) as node:
        python.say("crash")
        python.failed(python.session(), r"signal 11.*tp_traverse ran: __main__\.Trap")
        python.say("hang")
        session_id = python.session()
        os.kill(python.child(), signal.SIGALRM)  # its own alarm, sooner than in a minute
        python.failed(session_id, r"took longer than \d+ s.*tp_traverse ran: __main__\.Trap")
        reader_lost(python, "hang")

        node.say("crashes")
        node.failed(node.session(), r"it crashed \(signal 11\)")
        node.say("hangs")
        node.failed(node.session(), "it hung, and was ended")
        reader_lost(node, "hangs")
