"""`errors.py`: every error's sentence, and how it crosses a call."""

import grpc
import pytest

from memwatch_agent import errors
from memwatch_agent.drivers import errors as driver_errors
from memwatch_proto.status import Reason

CODE = grpc.StatusCode

TABLE = [
    (
        errors.SettingsError("--listen", "x", "it is wrong"),
        CODE.INTERNAL,
        "cannot use --listen 'x': it is wrong",
    ),
    (
        errors.StateDirError("/d", "it is full"),
        CODE.INTERNAL,
        "cannot use state directory '/d': it is full",
    ),
    (
        errors.BadRequestError("kind", "unknown; ask for HEAP"),
        CODE.INVALID_ARGUMENT,
        "cannot use kind: unknown; ask for HEAP",
    ),
    (
        errors.TargetNotFoundError("t-1"),
        CODE.NOT_FOUND,
        "cannot find target 't-1': its process has ended or was never here; list the targets again",
    ),
    (
        errors.HeadroomError(7, 20, 10),
        CODE.FAILED_PRECONDITION,
        "cannot capture process 7: it needs about 20 bytes of extra memory and 10 are left under "
        "its limit; raise the limit, or force it",
    ),
    (
        errors.PauseBudgetError(7, 20, 10),
        CODE.FAILED_PRECONDITION,
        "cannot capture process 7: it would pause for about 20 ms and 10 ms are allowed; "
        "allow a longer pause, or force it",
    ),
    (
        errors.CaptureInProgressError(7, "r-1", 3.4),
        CODE.RESOURCE_EXHAUSTED,
        "cannot capture process 7: capture 'r-1' of the same pod is running; try again in 3 s",
    ),
    (
        errors.RecordingLostError("r-1"),
        CODE.NOT_FOUND,
        "cannot join recording 'r-1': this agent knows none of that name, it was restarted since; "
        "start the profile again",
    ),
    (
        errors.CaptureTimeoutError(7, 0.5),
        CODE.DEADLINE_EXCEEDED,
        "cannot capture process 7: not done within 0.5 s; nothing was kept, allow more time",
    ),
    (
        errors.CaptureCancelledError(7, "the agent stops"),
        CODE.CANCELLED,
        "cannot finish the capture of process 7: the agent stops; nothing was kept",
    ),
    (
        errors.SpoolFullError("its quota is used up", 9, 10),
        CODE.FAILED_PRECONDITION,
        "cannot keep the snapshot in the spool: its quota is used up (9 of 10 bytes used); "
        "discard stored snapshots, or raise --spool-quota",
    ),
    (
        errors.SnapshotNotFoundError("s-1"),
        CODE.NOT_FOUND,
        "cannot read snapshot 's-1': it is not in the spool; capture again",
    ),
    (
        errors.OffsetOutOfRangeError("s-1", 11, 10),
        CODE.OUT_OF_RANGE,
        "cannot stream snapshot 's-1' from offset 11: it has 10 bytes; start at 0",
    ),
    (
        driver_errors.NoWayInError(7, "it has no hook", "start it with the hook"),
        CODE.FAILED_PRECONDITION,
        "cannot capture process 7: it has no hook; start it with the hook",
    ),
    (
        driver_errors.TargetEndedError(7, "it has ended"),
        CODE.ABORTED,
        "cannot capture process 7: it has ended",
    ),
]


@pytest.mark.parametrize(("error", "code", "sentence"), TABLE, ids=lambda x: type(x).__name__)
def test_every_error_is_one_sentence_with_a_code(error, code, sentence):
    """The sentence says what, with what, why and what next; the code fits."""
    failure = errors.failure(error)

    assert str(error) == sentence
    assert failure.message == sentence
    assert failure.code is code
    assert "\n" not in sentence


def test_every_error_is_in_the_table():
    """A new error comes with its sentence."""

    def leaves(kind):
        below = kind.__subclasses__()
        return {leaf for one in below for leaf in leaves(one)} if below else {kind}

    assert leaves(errors.AgentError) <= {type(error) for error, _, _ in TABLE}


def test_every_reason_of_a_driver_has_a_code():
    """No error of a driver reaches a caller as INTERNAL."""
    for kind in driver_errors.DriverError.__subclasses__():
        assert errors.failure(kind(7, "x")).code is not CODE.INTERNAL


def test_facts_are_told_to_programs():
    """What stands in the sentence is in the metadata too."""
    failure = errors.failure(errors.HeadroomError(7, 20, 10))

    assert failure.reason == Reason.HEADROOM
    assert failure.metadata == {"pid": "7", "needed_bytes": "20", "available_bytes": "10"}


def test_a_busy_pod_says_when_to_come_back():
    """RESOURCE_EXHAUSTED carries a time to wait, from us and from a driver."""
    assert errors.failure(errors.CaptureInProgressError(7, "r", 3.5)).retry_after_seconds == 3.5
    busy = errors.failure(driver_errors.TargetBusyError(7, "busy"))
    assert busy.code is CODE.RESOURCE_EXHAUSTED
    assert busy.retry_after_seconds
