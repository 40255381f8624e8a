"""Follows one session to its end, whoever runs it: progress, Ctrl-C, report.

`capture` uses it through a controller and with a private one alike.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from memwatchctl.errors import (
    CliError,
    InterruptError,
    SessionError,
    Terminated,
)
from memwatchctl.output import word
from memwatchctl.progress import Display, session_step

if TYPE_CHECKING:
    from memwatch_proto.v1.sessions_pb2 import Session
    from memwatch_proto.v1.snapshots_pb2 import Snapshot
    from memwatchctl.client import Controller

#: How often what is shown is brought up to date between two changes.
TICK_SECONDS = 0.2


def follow(
    controller: "Controller",
    session: "Session",
    display: Display,
    on_snapshot: Callable[["Snapshot"], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
    on_tick: Callable[["Session"], None] = lambda _: None,
) -> "Session":
    """Follows a session until it has succeeded; a Ctrl-C cancels it.

    `on_snapshot` is told of each snapshot once, as soon as it is stored; `on_tick` of the
    session as it is, several times a second.

    Raises:
        SessionError: it failed or was cancelled by somebody else.
        InterruptError: Ctrl-C; the sentence says what became of the session.
    """
    last, told = session, set[str]()
    try:
        for change in _with_ticks(controller.watch_session(session.id)):
            last = change or last
            display.show(session_step(last, clock()))
            for snapshot in _snapshots(last):
                if snapshot.id not in told:
                    told.add(snapshot.id)
                    on_snapshot(snapshot)
            on_tick(last)
    except KeyboardInterrupt:
        raise InterruptError(_cancel(controller, session.id, display)) from None
    except Terminated as terminated:
        if not terminated.keeps_sessions:
            _cancel(controller, session.id, display)
        raise
    check(last)
    return last


def check(session: "Session") -> None:
    """Sees that a finished session has succeeded.

    Raises:
        SessionError: it has not.
    """
    state = word(session, "state")
    if state == "succeeded":
        return
    error = session.error
    if state == "cancelled":
        raise SessionError(session.id, "was cancelled")
    raise SessionError(session.id, "failed", error.phase, error.reason, error.message)


def _snapshots(session: "Session") -> Iterator["Snapshot"]:
    for target in session.targets:
        yield from target.snapshots


def _cancel(controller: "Controller", session_id: str, display: Display) -> str:
    """Asks the controller to cancel; what to say of it."""
    display.note(f"cancelling session {session_id}; Ctrl-C again leaves it to the controller")
    try:
        controller.cancel_session(session_id)
    except KeyboardInterrupt:
        return f"session {session_id} may go on; 'memwatchctl sessions cancel {session_id}' ends it"
    except CliError as error:
        return f"cannot cancel session '{session_id}': {error}"
    return f"session {session_id} is cancelled; snapshots already taken are kept"


def _with_ticks(sessions: Iterator["Session"]) -> Iterator["Session | None"]:
    """The changes of a session, and None every tick between them.

    The stream is read in a thread of its own, so that this one can be interrupted.
    """
    changes: queue.SimpleQueue[Session | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for session in sessions:
                changes.put(session)
            changes.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            changes.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            change = changes.get(timeout=TICK_SECONDS)
        except queue.Empty:
            yield None
            continue
        if change is None:
            return
        if isinstance(change, BaseException):
            raise change
        yield change
