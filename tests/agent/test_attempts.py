"""`attempts.py`: which manners are tried, how often, and what becomes of a child that fails."""

from pathlib import Path

import pytest

from memwatch_agent.attempts import MAX_FORKS, Attempts, PauseMode, bounds, manners, reserve
from memwatch_agent.cgroups import Level
from memwatch_agent.drivers.base import Bounds, Manner
from memwatch_agent.drivers.errors import CannotForkError, ForkFailedError
from memwatch_agent.taking import CaptureSpec, Course
from memwatch_proto.v1 import common_pb2
from tests.agent.fakes import MIB, Bench, FakeDriver, target

BOTH = (Manner.FORKED, Manner.BLOCKING)


def failed(kind: str = "stuck") -> ForkFailedError:
    """A child that failed."""
    return ForkFailedError(
        7, "a lock was held", kind=kind, pause_millis=9.6, duration_millis=30, extra_memory_bytes=5
    )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.driver.manners = BOTH
    return bench


@pytest.mark.parametrize(
    ("mode", "offered", "wanted"),
    [
        (PauseMode.AUTO, BOTH, BOTH),
        (PauseMode.NEVER, BOTH, (Manner.FORKED,)),
        (PauseMode.BLOCKING, BOTH, (Manner.BLOCKING,)),
        (PauseMode.BLOCKING, (Manner.FORKED,), (Manner.FORKED,)),
        (PauseMode.AUTO, (Manner.BLOCKING,), (Manner.BLOCKING,)),
    ],
)
def test_a_mode_allows_what_it_says(mode, offered, wanted):
    """Auto prefers a child; CPython, which always forks, does so in every mode."""
    driver = FakeDriver()
    driver.manners = offered

    assert manners(mode, driver, 7) == wanted


def test_never_is_refused_where_nothing_forks():
    """With the link's own reason."""
    driver = FakeDriver()
    driver.cannot_fork = "its hook is too old to fork"
    with pytest.raises(CannotForkError, match="too old to fork; let it pause"):
        manners(PauseMode.NEVER, driver, 7)


async def test_a_child_is_tried_again_and_every_try_is_told(bench):
    """The pause that counts is the longest; the failed tries stand beside it."""
    bench.driver.fork_errors = [failed(), failed()]

    snapshot = await bench.taker.take(CaptureSpec("r", "t-1"), target(), Course())

    assert snapshot.cost.manner == common_pb2.CAPTURE_MANNER_FORKED
    assert snapshot.cost.pause_millis == 10
    assert [one.failure for one in snapshot.cost.tries] == ["a lock was held"] * 2 + [""]
    assert snapshot.cost.tries[0].extra_memory_bytes == 5
    assert snapshot.raw_size_bytes == len(bench.driver.data)
    assert bench.leftovers() == []


async def test_auto_falls_back_to_the_blocking_way(bench):
    """After the last child, or at once where none can be had; the snapshot says why."""
    bench.driver.fork_errors = [failed()] * MAX_FORKS
    tired = await bench.taker.take(CaptureSpec("r-1", "t-1"), target(), Course())
    bench.driver.fork_errors = [CannotForkError(7, "no addon", "")]
    unable = await bench.taker.take(CaptureSpec("r-2", "t-1"), target(), Course())

    assert tired.cost.manner == unable.cost.manner == common_pb2.CAPTURE_MANNER_BLOCKING
    assert tired.notes[0] == "not taken in a forked child (3 tries): a lock was held"
    assert unable.notes[0] == "not taken in a forked child: no addon"
    assert len(unable.cost.tries) == 2
    assert unable.cost.pause_millis == 12


async def test_never_fails_rather_than_pause(bench):
    """The error of the last child is the capture's, and nothing is left in the spool."""
    bench.driver.fork_errors = [failed()] * MAX_FORKS
    spec = CaptureSpec("r", "t-1", pause=PauseMode.NEVER)

    with pytest.raises(ForkFailedError, match="a lock was held"):
        await bench.taker.take(spec, target(), Course())
    assert len(bench.driver.forks) == MAX_FORKS
    assert bench.driver.taken == 0
    assert bench.leftovers() == []


async def test_a_child_that_took_too_much_is_not_tried_again(bench):
    """The blocking way would take as much, from the app itself."""
    bench.driver.fork_errors = [failed("memory")]

    with pytest.raises(ForkFailedError):
        await bench.taker.take(CaptureSpec("r", "t-1"), target(), Course())
    assert (len(bench.driver.forks), bench.driver.taken) == (1, 0)


def test_a_child_s_memory_ends_before_the_limit():
    """What is free but for a reserve; little is not all reserved."""
    roomy = Level(1000 * MIB, 4000 * MIB, 0)
    tight = Level(3900 * MIB, 4000 * MIB, 0)

    assert reserve(roomy) == 200 * MIB
    assert bounds(roomy, 1000).memory_bytes == 2800 * MIB
    assert bounds(tight, 1000).memory_bytes == 75 * MIB
    assert bounds(None, 60_000) == Bounds(900.0)


async def test_a_child_is_ended_when_memory_runs_short(bench):
    """Whoever takes it: the limit is looked at while the child runs."""
    looks = iter([Level(100 * MIB, 1000 * MIB, 0)] * 2 + [Level(990 * MIB, 1000 * MIB, 0)])
    bench.driver.gate.clear()
    attempts = Attempts(7, bench.driver, bench.spool, "s-1", lambda: next(looks), lambda _: None)

    with pytest.raises(ForkFailedError, match="10 MiB were left") as caught:
        await attempts.run([(Manner.FORKED, Bounds())], lambda _: None)
    assert caught.value.kind == "memory"
    assert bench.leftovers() == []
