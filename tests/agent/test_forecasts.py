"""`forecasts.py`: each manner's cost, and what a capture in one teaches of the other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.cgroups import Level
from memwatch_agent.drivers.base import Manner, Process, Runtime
from memwatch_agent.errors import HeadroomError, PauseBudgetError
from memwatch_agent.forecasts import Forecast, Size, forecast, to_pb
from memwatch_agent.history import Record
from memwatch_proto.v1 import common_pb2

MIB = 1024 * 1024
NODE = Process(7, 100, Runtime.NODE, "24.1.0")
SIZE = Size(200 * MIB, 400 * MIB)


def record(manner: Manner, **changes: float) -> Record:
    """One earlier capture at the same size."""
    fields = {
        "target_id": "t",
        "kin": "k",
        "basis_bytes": 200 * MIB,
        "pause_millis": 20.0,
        "full_memory_bytes": 900 * MIB,
        "retained_bytes": 0.0,
        "rss_after_bytes": 400 * MIB,
        "raw_size_bytes": 300 * MIB,
        "duration_millis": 12_000.0,
        "manner": str(manner),
        **changes,
    }
    return Record(**fields)  # type: ignore[arg-type]


def of(manner: Manner, *records: Record, room: Level | None = None, pause: int = 0) -> Forecast:
    """The forecast of one manner."""
    return forecast(NODE, SIZE, manner, records, 50 * MIB, room, pause)


def test_a_fork_pauses_for_milliseconds_and_takes_as_long():
    """Without any past: the pause grows with the memory, the duration with the heap."""
    forked, blocking = of(Manner.FORKED).estimate.cost, of(Manner.BLOCKING).estimate.cost

    assert forked.pause_millis == pytest.approx(5 + 400 * 45 / 1024)
    assert blocking.pause_millis == blocking.duration_millis == 200 * 63
    assert forked.duration_millis == blocking.duration_millis
    assert forked.extra_memory_bytes == blocking.extra_memory_bytes


def test_one_manner_teaches_the_other():
    """How long the child took is how long the app would stand still; the memory is the same."""
    blocking = of(Manner.BLOCKING, record(Manner.FORKED)).estimate.cost
    forked = of(Manner.FORKED, record(Manner.BLOCKING, pause_millis=12_000)).estimate.cost

    assert blocking.pause_millis == pytest.approx(12_000, rel=0.05)
    assert blocking.duration_millis == blocking.pause_millis
    assert forked.pause_millis == pytest.approx(5 + 400 * 45 / 1024)
    assert forked.extra_memory_bytes == pytest.approx(900 * MIB, rel=0.2)
    assert forked.duration_millis == pytest.approx(12_000, rel=0.05)


def test_a_child_that_waited_for_its_turns_says_how_much_it_worked():
    """It gives way to the app, which would not: its processor time is what teaches."""
    child = record(Manner.FORKED, duration_millis=40_000, cpu_millis=10_000)
    blocking = of(Manner.BLOCKING, child).estimate.cost

    assert blocking.pause_millis == pytest.approx(10_000, rel=0.05)
    assert blocking.duration_millis == pytest.approx(10_000, rel=0.05)
    assert of(Manner.FORKED, child).estimate.cost.duration_millis > 35_000


def test_a_fork_s_pause_goes_with_all_that_is_resident():
    """What a process kept of a snapshot of its own making is copied too, whatever its heap is."""
    past = record(Manner.FORKED, pause_millis=45, rss_after_bytes=400 * MIB)
    fat = forecast(NODE, replace(SIZE, rss_bytes=1600 * MIB), Manner.FORKED, [past], 0, None, 0)

    rise = (5 + 1600 * 45 / 1024) / (5 + 400 * 45 / 1024)
    assert fat.estimate.cost.pause_millis == pytest.approx(45 * rise, rel=0.05)


def test_its_own_past_counts_before_the_other_s():
    """A manner that was tried is predicted from its own captures alone."""
    known = of(Manner.FORKED, record(Manner.BLOCKING), record(Manner.FORKED, pause_millis=80))

    assert known.estimate.learned_from == 1
    assert known.estimate.cost.pause_millis == pytest.approx(80, rel=0.1)


@given(
    pause=st.floats(5, 500),
    memory=st.integers(50 * MIB, 20_000 * MIB),
    drift=st.floats(0.9, 1.1),
)
def test_a_learned_forecast_is_within_30_percent(pause, memory, drift):
    """Of a process whose captures cost alike, whatever the general figures say."""
    past = [
        record(Manner.FORKED, pause_millis=pause * factor, full_memory_bytes=memory * factor)
        for factor in (drift, 1.0, 2 - drift)
    ]
    cost = of(Manner.FORKED, *past).estimate.cost

    assert cost.extra_memory_bytes == pytest.approx(memory, rel=0.3, abs=130 * MIB)
    assert cost.pause_millis == pytest.approx(pause, rel=0.3, abs=2)


def test_what_the_process_kept_is_of_no_use_to_a_child():
    """Its memory is copied before it is written to."""
    forked = of(Manner.FORKED, record(Manner.FORKED)).estimate
    blocking = of(Manner.BLOCKING, record(Manner.BLOCKING)).estimate

    assert forked.retained_bytes == 0
    assert blocking.retained_bytes == 50 * MIB


def test_each_manner_is_refused_for_itself():
    """A pause budget stops the blocking way alone, and the preflight says which is tried first."""
    both = [of(manner, pause=500) for manner in (Manner.FORKED, Manner.BLOCKING)]
    preflight = to_pb(both, None)

    assert both[0].refused is None
    assert isinstance(both[1].refused, PauseBudgetError)
    assert preflight.allowed
    assert preflight.manner == common_pb2.CAPTURE_MANNER_FORKED
    assert [bool(one.refusal) for one in preflight.forecasts] == [False, True]
    small = Level(300 * MIB, 400 * MIB, 0)
    assert isinstance(of(Manner.FORKED, room=small).refused, HeadroomError)


def test_records_of_older_agents_are_of_the_blocking_way():
    """They know no manner."""
    assert replace(record(Manner.FORKED), manner="").wrote is Manner.BLOCKING
