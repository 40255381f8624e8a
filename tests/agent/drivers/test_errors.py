"""`drivers/errors.py`: one sentence each, with the next step."""

import pytest

from memwatch_agent.drivers import errors
from memwatch_proto.status import Reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (errors.NoWayInError, Reason.NO_WAY_IN),
        (errors.TargetEndedError, Reason.TARGET_ENDED),
        (errors.DebuggerAttachedError, Reason.DEBUGGER_ATTACHED),
        (errors.InspectorNotTargetError, Reason.INSPECTOR_NOT_TARGET),
        (errors.InspectorExposedError, Reason.INSPECTOR_EXPOSED),
        (errors.TargetBusyError, Reason.CAPTURE_IN_PROGRESS),
        (errors.CaptureFailedError, Reason.CAPTURE_FAILED),
        (errors.RecordingFailedError, Reason.CAPTURE_FAILED),
        (errors.KindUnsupportedError, Reason.PROFILE_KIND_UNSUPPORTED),
        (errors.ProfilerMissingError, Reason.PROFILER_MISSING),
        (errors.NoHeadroomError, Reason.HEADROOM),
    ],
)
def test_every_error_says_what_and_why_and_what_next(kind, reason):
    """`cannot capture process N: cause; next step`, and a reason for programs."""
    error = kind(7, "it is so", "do this")

    assert str(error) == f"cannot {kind.doing} process 7: it is so; do this"
    assert str(kind(7, "it is so")) == f"cannot {kind.doing} process 7: it is so"
    assert (error.reason, error.pid) == (reason, 7)


def test_a_long_cause_is_cut():
    """What a target says cannot fill a log."""
    assert len(str(errors.CaptureFailedError(7, "x" * 10_000))) < 400
