"""Keeps a container's service whole while it is captured, and undoes what was left half-way.

Run by the guardian as `python -m memwatchctl.isolation FOLDER ID IMAGE` when the command that
began a change has ended, in whatever way.
"""

import contextlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memwatchctl import engines, replacement, rotation
from memwatchctl.errors import CliError, EngineError
from memwatchctl.ledger import Held, Ledger

if TYPE_CHECKING:
    from docker import DockerClient

    from memwatch_proto.v1.sessions_pb2 import Session
    from memwatchctl.output import Output

#: A session's snapshot is waited for out of the rotation: time for the way out, besides draining.
_MARGIN_SECONDS = 15.0

#: States of a session that needs its target no more.
_CAPTURED = ("analysing", "succeeded", "failed", "cancelled")

#: The guardian waits so long for a command that is just ending to let go of its ledger.
_UNDO_TRIES = 20


@dataclass(frozen=True)
class Settings:
    """How the service is kept whole.

    Attributes:
        wish: what the user allows.
        patience: how long is waited.
        image: the agent's image, to look at sockets with.
    """

    wish: replacement.Wish
    patience: rotation.Patience
    image: str


@dataclass(frozen=True)
class Isolation:
    """A change that is decided and not begun."""

    ledger: Ledger
    settings: Settings
    container_id: str
    change_id: str
    note: Callable[[str], None]

    @property
    def undo_command(self) -> Sequence[str]:
        """What the guardian runs at the end."""
        words = (str(self.ledger.folder), self.change_id, self.settings.image)
        return (sys.executable, "-P", "-m", "memwatchctl.isolation", *words)

    @contextlib.contextmanager
    def aside(self) -> Iterator["Following"]:
        """The container is out of the rotation, and a replacement serves, while the block runs.

        Raises:
            IsolationError: it cannot be replaced without harm.
            EngineError: the engine refused, or the replacement did not get ready.
        """
        with engines.engine() as client:
            pair, body = self.prepared(client)
            with self.ledger.open(self.change_id, pair.to_plain()) as held:
                turns = self._turns(client, held, pair)
                self.note(f"starting '{pair.replacement}' to serve while '{pair.name}' is captured")
                try:
                    turns.start(body)
                    turns.aside()
                    self.note(f"'{pair.name}' is out of the rotation")
                    yield Following(turns, self.settings.patience.drain_seconds)
                finally:
                    _finish(self.ledger, held, turns)
                self.note(f"'{pair.name}' is back in the rotation; its replacement is removed")

    def prepared(self, client: "DockerClient") -> tuple[rotation.Pair, Mapping[str, Any]]:
        """What would be done, after everything was checked.

        Raises:
            IsolationError: it cannot be replaced without harm.
        """
        container = client.api.inspect_container(self.container_id)
        kept = self.ledger.kept(self.container_id)
        return rotation.prepared(client, container, self.change_id, self.settings.wish, kept)

    def _turns(self, client: "DockerClient", held: Held, pair: rotation.Pair) -> rotation.Rotation:
        settings = self.settings
        return rotation.Rotation(client, held, pair, settings.patience, settings.image, self.note)


@dataclass
class Following:
    """Puts the container back while its session waits, so that it has its usual work to do."""

    turns: rotation.Rotation
    drain_seconds: float
    clock: Callable[[], float] = time.time

    def __call__(self, session: "Session") -> None:
        """Told the session as it is, again and again."""
        from memwatchctl.output import word

        state = word(session, "state")
        if state in _CAPTURED and self.turns.is_aside:
            self.turns.back()
        if state != "waiting" or not session.HasField("next_capture_time"):
            return
        left = session.next_capture_time.ToMilliseconds() / 1000 - self.clock()
        if is_time_to_go_back(self.turns.is_aside, left, self.drain_seconds):
            self.turns.back()
        elif is_time_to_leave(self.turns.is_aside, left, self.drain_seconds):
            self.turns.aside()


def is_time_to_go_back(is_aside: bool, left_seconds: float, drain_seconds: float) -> bool:
    """Whether a wait is worth both ways, and as much again in the rotation. Pure."""
    return is_aside and left_seconds > 3 * (drain_seconds + _MARGIN_SECONDS)


def is_time_to_leave(is_aside: bool, left_seconds: float, drain_seconds: float) -> bool:
    """Whether the next snapshot is so near that the way out has to begin. Pure."""
    return not is_aside and left_seconds <= drain_seconds + _MARGIN_SECONDS


def decided(container_id: str, settings: Settings, note: Callable[[str], None]) -> Isolation:
    """A change with a name of its own."""
    return Isolation(Ledger.of_user(), settings, container_id, f"mw{uuid.uuid4().hex[:8]}", note)


def undo(ledger: Ledger, change_id: str, image: str, note: Callable[[str], None]) -> bool:
    """Undoes a change whose command has ended; whether there was one.

    Raises:
        EngineError: no engine answers, it is another one, or it refused.
    """
    held = ledger.take(change_id)
    if held is None:
        return False
    pair = rotation.Pair.from_plain(held.entry.before)
    with held, engines.engine() as client:
        if pair.engine_id != str(client.info()["ID"]):
            raise EngineError(
                f"change {change_id} of '{pair.name}' is of another engine; "
                "name that with DOCKER_HOST"
            )
        turns = rotation.Rotation(client, held, pair, rotation.Patience(), image, note)
        _finish(ledger, held, turns)
    note(f"'{pair.name}' is as before, and nothing of change {change_id} is left")
    return True


def sweep(client: "DockerClient", image: str, note: Callable[[str], None]) -> None:
    """Undoes what killed commands left on this engine; what cannot be undone is told."""
    ledger = Ledger.of_user()
    for entry in list(ledger.entries()):
        pair = rotation.Pair.from_plain(entry.before)
        if pair.engine_id != str(client.info()["ID"]) or ledger.is_owned(entry.id):
            continue
        try:
            undo(ledger, entry.id, image, note)
        except CliError as error:
            note(f"warning: {error}")


def _finish(ledger: Ledger, held: Held, turns: rotation.Rotation) -> None:
    addresses = turns.finish()
    if addresses:
        ledger.keep(rotation.Pair.from_plain(held.entry.before).original, addresses)
    held.done = True


def show(out: "Output", pair: rotation.Pair, body: Mapping[str, Any]) -> None:
    """Prints what would be done."""
    steps = rotation.steps(pair)
    if out.is_table:
        for number, step in enumerate(steps, 1):
            out.line(f"{number}. {step}")
    else:
        out.document({"steps": steps, "container": dict(body)})


def main(arguments: Sequence[str]) -> int:
    """Undoes one change; the exit code."""
    folder, change_id, image = arguments
    ledger = Ledger(Path(folder))
    for _ in range(_UNDO_TRIES):
        if not ledger.is_owned(change_id):
            break
        time.sleep(0.1)
    try:
        undo(ledger, change_id, image, lambda said: print(said, file=sys.stderr))  # noqa: T201
    except CliError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
