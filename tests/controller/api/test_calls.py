"""The log of calls."""

import grpc
import pytest
import structlog

from memwatch_controller.api.calls import _Ending


class FreedContext:
    """A call's context: like grpcio's, it must not be asked for its peer once the call is freed."""

    def __init__(self):
        self.freed = False

    def peer(self):
        assert not self.freed, "grpcio would crash the process here"
        return "unix:"

    def code(self):
        return grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("freed", [False, True])
def test_a_call_that_ends_late_is_logged(freed):
    """A stream that is ended after its call was freed is logged without asking the call."""
    context = FreedContext()
    with structlog.testing.capture_logs() as logs:
        end = _Ending("/memwatch.v1.SessionService/WatchSession", context)
        context.freed = freed
        end.log()

    assert [(entry["peer"], entry["code"]) for entry in logs] == [("unix:", "CANCELLED")]
