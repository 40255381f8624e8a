import grpc
import pytest

from memwatch_controller import errors
from memwatch_controller.api.status import CODES, failure_of, streaming, unary
from memwatch_proto.status import Reason


def subclasses(cls):
    for sub in cls.__subclasses__():
        yield sub
        yield from subclasses(sub)


def test_every_reason_has_a_code():
    """No reason crosses a call without a status code that fits it."""
    assert set(CODES) == set(Reason)


@pytest.mark.parametrize(
    "error", sorted({c.reason for c in subclasses(errors.ControllerError) if hasattr(c, "reason")})
)
def test_every_error_of_the_controller_has_a_known_reason(error):
    """What the controller raises is on the list of docs/reference/errors.md."""
    assert error in set(Reason)


def test_facts_and_retry_time_cross():
    """Facts of an error are its metadata; a retry time is kept."""
    failure = failure_of(errors.TooManySessionsError(5, 30.0))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.metadata == {"limit": "5"}
    assert failure.retry_after_seconds == 30.0


def test_an_agents_words_are_passed_on():
    """Code, reason and message of an agent's error are the agent's."""
    error = errors.AgentError("HEADROOM", "FAILED_PRECONDITION", "cannot take it: no room")
    failure = failure_of(error)
    assert (failure.code, failure.reason, failure.message) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "HEADROOM",
        "cannot take it: no room",
    )


class AbortedError(Exception):
    pass


class Context:
    async def abort_with_status(self, status):
        raise AbortedError(status.details)


async def test_an_unforeseen_error_is_told_without_its_words():
    """A bug answers INTERNAL with its kind only: its text may hold secrets."""

    class Servicer:
        @unary
        async def Get(self, request, context):  # noqa: N802
            raise ZeroDivisionError("password=1234")

        @streaming
        async def Watch(self, request, context):  # noqa: N802
            yield 1
            raise ZeroDivisionError("password=1234")

    with pytest.raises(AbortedError, match="cannot answer Get: ZeroDivisionError; see") as caught:
        await Servicer().Get(None, Context())
    assert "1234" not in str(caught.value)
    watch = Servicer().Watch(None, Context())
    assert await anext(watch) == 1
    with pytest.raises(AbortedError, match="cannot answer Watch"):
        await anext(watch)
