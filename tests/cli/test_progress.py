"""How far a session or a capture is, in words; lines at the right times."""

import io

import pytest

from memwatch_proto.v1 import agents_pb2, sessions_pb2
from memwatchctl.progress import Lines, Step, capture_step, session_step

S = sessions_pb2


def session(state, **plan):
    """A session of one target in a state, 100 s before its next snapshot."""
    made = S.Session(state=state, plan=S.SessionPlan(**plan), targets=[S.SessionTarget()])
    made.next_capture_time.FromSeconds(1100)
    return made


@pytest.mark.parametrize(
    ("made", "text", "done", "total"),
    [
        (session(S.SESSION_STATE_PENDING), "starting", 0, 0),
        (session(S.SESSION_STATE_ANALYSING), "comparing the snapshots", 0, 0),
        (session(S.SESSION_STATE_CAPTURING_AFTER), "capturing after: snapshot 1 of 2", 0, 0),
        (
            session(S.SESSION_STATE_WAITING, timeframe_millis=600_000, snapshots=4),
            "waiting, next snapshot in 1m 40s (0 of 4 taken)",
            100,
            200,
        ),
        (S.Session.FromString(b"\x20\x63"), "99", 0, 0),
    ],
)
def test_session_step(made, text, done, total):
    """Each state has its words; a wait knows how long it still is."""
    step = session_step(made, 1000.0)
    assert (step.text, step.done, step.total) == (text, done, total)


def test_session_step_of_a_running_capture():
    """A capture that runs is shown with its bytes."""
    made = session(S.SESSION_STATE_CAPTURING_BEFORE)
    made.targets[0].progress.CopyFrom(
        agents_pb2.CaptureProgress(
            stage="CAPTURE_STAGE_CAPTURING", raw_size_bytes=10 << 20, expected_size_bytes=50 << 20
        )
    )
    step = session_step(made, 0)
    assert step.text == "capturing before: snapshot 1 of 2, 10.0 MiB of about 50.0 MiB"
    assert (step.done, step.total) == (10 << 20, 50 << 20)


def test_session_step_of_a_running_comparison():
    """A comparison that runs is shown with its share; of several none is."""
    made = session(S.SESSION_STATE_ANALYSING)
    made.targets[0].analysis.CopyFrom(S.AnalysisProgress(doing="reading 'a'", done_percent=43))
    step = session_step(made, 0)
    assert (step.text, step.done, step.total) == (
        "comparing the snapshots, 43 %: reading 'a'",
        43,
        100,
    )
    made.targets.append(made.targets[0])
    assert session_step(made, 0).text == "comparing the snapshots"


def test_a_capture_never_passes_its_end():
    """More bytes than expected leave the bar full, not beyond."""
    step = capture_step(agents_pb2.CaptureProgress(raw_size_bytes=9, expected_size_bytes=5))
    assert step.done == step.total == 5


def test_lines():
    """A line at each change of phase and every 30 s within one; short work says nothing."""
    now, out = [0.0], io.StringIO()
    lines = Lines(out, clock=lambda: now[0])
    for at, step in [
        (0, Step("", "quiet")),
        (1, Step("a", "a1")),
        (5, Step("a", "a2")),
        (31, Step("a", "a3")),
        (32, Step("b", "b1")),
        (40, Step("", "quiet")),
        (63, Step("", "late\n")),
    ]:
        now[0] = at
        lines.show(step)
    assert out.getvalue().splitlines() == ["a1", "a3", "b1", "late\\n"]
