"""How far something is: a bar on a terminal, a line now and then elsewhere, on standard error.

What is said (`session_step`, `capture_step`) is pure; how it is shown is a `Display`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from memwatchctl import durations
from memwatchctl.output import word
from memwatchctl.text import printable, size

if TYPE_CHECKING:
    from rich.progress import TaskID

    from memwatch_proto.v1.agents_pb2 import CaptureProgress
    from memwatch_proto.v1.sessions_pb2 import Session

#: How often a line is written where there is no terminal, as in the ancestor.
LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Step:
    """What goes on.

    Attributes:
        phase: the part of the work, such as `capturing_before`; a change of it is always shown.
            Empty for work that is over in seconds as a rule.
        text: the same for people, with figures.
        done: how much of it is done.
        total: how much there is; 0 where nobody knows.
    """

    phase: str
    text: str
    done: float = 0
    total: float = 0


class Display(Protocol):
    """Shows steps until it is closed."""

    def show(self, step: Step) -> None:
        """Shows where the work is now."""

    def note(self, sentence: str) -> None:
        """Says something that stays."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def session_step(session: "Session", now: float) -> Step:
    """Where a session is, at a time in seconds since the epoch."""
    phase = word(session, "state")
    taken = sum(len(target.snapshots) for target in session.targets)
    wanted = max(session.plan.snapshots, 2) * max(len(session.targets), 1)
    if phase == "waiting" and session.HasField("next_capture_time"):
        left = max(0.0, session.next_capture_time.ToMilliseconds() / 1000 - now)
        whole = _interval_millis(session) / 1000
        text = f"waiting, next snapshot in {durations.describe(_seconds(left))}"
        return Step(phase, f"{text} ({taken} of {wanted} taken)", max(0.0, whole - left), whole)
    if phase in ("capturing_before", "capturing_after"):
        return _capturing(session, phase, taken, wanted)
    if phase == "analysing":
        return _comparing(session, phase)
    return Step(phase, {"pending": "starting"}.get(phase, phase))


def _comparing(session: "Session", phase: str) -> Step:
    text = "comparing the snapshots"
    running = [target.analysis for target in session.targets if target.HasField("analysis")]
    if len(running) != 1:
        return Step(phase, text)
    done = running[0].done_percent
    return Step(phase, f"{text}, {done} %: {running[0].doing}", done, 100)


def _interval_millis(session: "Session") -> int:
    """Time between two snapshots of a session."""
    return max(1, session.plan.timeframe_millis // (max(session.plan.snapshots, 2) - 1))


def _seconds(left: float) -> int:
    """Whole seconds as milliseconds, so that the words do not flicker."""
    return round(left) * 1000


def _capturing(session: "Session", phase: str, taken: int, wanted: int) -> Step:
    running = [t.progress for t in session.targets if t.HasField("progress")]
    which = f"snapshot {min(taken + 1, wanted)} of {wanted}"
    name = "before" if phase == "capturing_before" else "after"
    if len(running) != 1:
        return Step(phase, f"capturing {name}: {which}")
    inner = capture_step(running[0])
    return Step(phase, f"capturing {name}: {which}, {inner.text}", inner.done, inner.total)


def capture_step(progress: "CaptureProgress") -> Step:
    """Where one capture is."""
    stage = word(progress, "stage")
    words = {
        "preflight": "checking headroom",
        "connecting": "connecting",
        "finishing": "finishing",
        "": "starting",
    }
    raw, expected = progress.raw_size_bytes, progress.expected_size_bytes
    text = words.get(stage, stage)
    if stage == "capturing":
        text = size(raw) + (f" of about {size(expected)}" if expected else "")
    return Step("", text, float(min(raw, expected)), float(expected))


def transfer_step(name: str, done: int, total: int) -> Step:
    """Where a download or an upload is."""
    return Step("", f"{name} {size(done)} of {size(total)}", done, total)


class Lines:
    """Writes a line when the phase changes, and one every 30 s within a phase."""

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        every_seconds: float = LINE_SECONDS,
    ) -> None:
        self._stream, self._clock, self._every = stream, clock, every_seconds
        self._phase = ""
        self._next = clock() + every_seconds

    def show(self, step: Step) -> None:
        """Writes the step if it is time."""
        now = self._clock()
        if step.phase in ("", self._phase) and now < self._next:
            return
        self._phase, self._next = step.phase or self._phase, now + self._every
        self.note(step.text)

    def note(self, sentence: str) -> None:
        """Writes a line."""
        self._stream.write(printable(sentence) + "\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to do."""


class Bar:
    """Keeps one bar at the bottom of a terminal; it is gone afterwards."""

    def __init__(self, stream: TextIO, no_color: bool) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._escape = escape
        console = Console(file=stream, no_color=no_color, highlight=False, emoji=False)
        self._progress: Progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("", total=None)

    def show(self, step: Step) -> None:
        """Moves the bar."""
        self._progress.update(
            self._task,
            description=self._escape(printable(step.text)),
            completed=step.done,
            total=step.total or None,
        )

    def note(self, sentence: str) -> None:
        """Writes a line above the bar."""
        self._progress.console.print(printable(sentence), markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def display(no_color: bool = False, stream: TextIO | None = None) -> Display:
    """A bar where standard error is a terminal, else lines."""
    stream = stream or sys.stderr
    return Bar(stream, no_color) if stream.isatty() else Lines(stream)
