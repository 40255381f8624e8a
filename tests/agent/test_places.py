"""Who may be captured and recorded at once."""

import pytest

from memwatch_agent import places as module
from memwatch_agent.containers import Container
from memwatch_agent.errors import CaptureInProgressError
from memwatch_agent.places import Places
from tests.agent.fakes import target

ONE = target("t-1", container=Container("a" * 64))
BESIDE = target("t-2", pid=8, container=Container("a" * 64))
ELSEWHERE = target("t-3", pid=9, container=Container("b" * 64))


def seconds() -> float:
    return 7.0


@pytest.mark.parametrize(
    ("first", "second", "wanted", "free"),
    [
        ("capture", "capture", ONE, False),
        ("capture", "capture", BESIDE, False),
        ("capture", "capture", ELSEWHERE, True),
        ("capture", "recording", ONE, False),
        ("capture", "recording", BESIDE, True),
        ("recording", "capture", ONE, False),
        ("recording", "capture", BESIDE, True),
        ("recording", "recording", ONE, False),
        ("recording", "recording", BESIDE, True),
    ],
)
def test_who_stands_in_whose_way(first, second, wanted, free):
    """A capture holds its pod, a recording its process; what holds says when to come back."""
    places = Places()
    getattr(places, first)("r-1", ONE, seconds)
    if free:
        getattr(places, second)("r-2", wanted, seconds)
        return
    with pytest.raises(CaptureInProgressError, match="'r-1'") as error:
        getattr(places, second)("r-2", wanted, seconds)
    assert error.value.retry_after_seconds == 7.0
    places.free("r-1")
    getattr(places, second)("r-2", wanted, seconds)


def test_the_number_of_recordings_is_bounded(monkeypatch):
    """Over all pods of a host there is a most, and captures do not count."""
    monkeypatch.setattr(module, "MAX_RECORDINGS", 1)
    places = Places()
    places.capture("r-0", BESIDE, seconds)
    places.recording("r-1", ONE, seconds)

    with pytest.raises(CaptureInProgressError):
        places.recording("r-2", ELSEWHERE, seconds)


def test_freeing_twice_is_no_error():
    """What is not held is given back in vain."""
    Places().free("r-1")
