"""Tracing for a session: on with its first dump, off with its last, and never left behind."""

import _tracemalloc

import pytest

from memwatch_hook import cgroup, tracing, wire
from memwatch_hook.options import HeapOptions


@pytest.fixture
def lease():
    """A lease of this process, ended whatever happens."""
    lease = tracing.Tracing()
    yield lease
    lease.end()
    assert not _tracemalloc.is_tracing()


def wish(frames, seconds):
    return tracing.Wish({"frames": frames, "seconds": seconds})


def test_a_lease_begins_is_renewed_and_ends(lease):
    """Every step says what it did; at the end nothing is traced."""
    assert "traced from here on, 3 frames" in lease.follow(wish(3, 60))
    assert _tracemalloc.get_traceback_limit() == 3
    assert "60 s more" in lease.follow(wish(3, 60))
    assert "traced no more" in lease.follow(wish(3, 0))
    assert not _tracemalloc.is_tracing()
    assert lease.follow(wish(3, 0)) == ""


def test_the_apps_own_tracing_is_left_alone(lease):
    """What the app switched on is used as it is, and stays on."""
    _tracemalloc.start(5)
    try:
        assert "stays on" in lease.follow(wish(1, 60))
        lease.end()
        assert _tracemalloc.get_traceback_limit() == 5
        assert _tracemalloc.is_tracing()
    finally:
        _tracemalloc.stop()


def test_it_ends_by_itself_and_says_why(lease, monkeypatch):
    """A lease that is over, or whose tables are too large, ends; the next dump says so."""
    lease.follow(wish(1, 60))
    assert lease._must_end() == ""
    monkeypatch.setattr(tracing, "MAX_TABLE_BYTES", 1)
    why = lease._must_end()
    assert "the limit is 1" in why
    lease.end(why)
    assert "no longer traced: the traces took" in lease.follow(wish(1, 0))


def test_it_is_refused_where_memory_is_short(lease, monkeypatch):
    """Nothing is switched on where the app needs the room; both numbers are told."""
    monkeypatch.setattr(cgroup.Memory, "headroom", lambda self: 5 << 20)
    assert "not traced: 5242880 bytes are left" in lease.follow(wish(1, 60))
    assert not _tracemalloc.is_tracing()


def test_a_forked_child_of_the_app_does_not_trace(lease):
    """In the child the app is as it was, and a new lease may begin there."""
    lease.follow(wish(1, 60))
    lease.forget()
    assert not _tracemalloc.is_tracing()
    assert "from here on" in lease.follow(wish(1, 60))


@pytest.mark.parametrize(
    "option", [{}, {"frames": 1}, {"frames": 0, "seconds": 1}, {"frames": 65, "seconds": 1},
               {"frames": 1, "seconds": -1}, {"frames": True, "seconds": 1}, 5, "x"],
)  # fmt: skip
def test_a_wrong_wish_is_refused(option):
    """An option that is no such thing is refused before anything happens."""
    with pytest.raises(wire.RequestError, match="'trace' has 'frames'"):
        HeapOptions({"trace": option})
