"""`safety.py`: the prediction and the verdict, by arithmetic alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent import safety
from memwatch_agent.cgroups import Level
from memwatch_agent.drivers.base import HeapFigures, Process, Runtime
from memwatch_agent.errors import HeadroomError, PauseBudgetError
from memwatch_agent.safety import Cost, Estimate, Past

MB = 1024 * 1024
NODE_20 = Process(1, 1, Runtime.NODE, "20.11.0")
PYTHON = Process(1, 1, Runtime.PYTHON, "3.12")

sizes = st.integers(1 * MB, 4096 * MB)


def room(headroom: int) -> Level:
    return Level(1000 * MB, 1000 * MB + headroom, 0)


def test_node_is_sized_by_its_heap():
    """V8's used heap is what costs grow with; without it, the resident memory."""
    assert safety.basis_bytes(NODE_20, HeapFigures(used_bytes=5), 100) == 5
    assert safety.basis_bytes(NODE_20, HeapFigures(), 100) == 100
    assert safety.basis_bytes(PYTHON, HeapFigures(used_bytes=5), 100) == 100


def test_the_general_cost_of_node():
    """100 MB of heap on Node 20: 11 s of pause, 1.6 GB of memory."""
    cost = safety.general_cost(NODE_20, 100 * MB)

    assert cost.pause_millis == 11_000
    assert cost.extra_memory_bytes == 1600 * MB


def test_the_general_cost_of_python():
    """1 GiB of a forked Python: twice its memory and the time to copy its page tables."""
    cost = safety.general_cost(PYTHON, 1024 * MB)

    assert cost.extra_memory_bytes == 2048 * MB
    assert cost.pause_millis == 85


def test_the_c_walker_needs_a_tenth():
    """With the C walker a forked Python takes 24 MiB and a tenth of its memory, not twice it."""
    cost = safety.general_cost(PYTHON, 1000 * MB, "c")

    assert cost.extra_memory_bytes == pytest.approx(124 * MB)
    assert safety.general_cost(PYTHON, 1000 * MB, "python").extra_memory_bytes == 2000 * MB


@pytest.mark.parametrize(
    ("version", "pause"),
    [("18.20.8", 600), ("20.1.0", 110), ("22.1.0", 88), ("24.0.0", 63), ("26.1.0", 63), ("", 600)],
)
def test_newer_nodes_pause_shorter(version, pause):
    """The pause for each MB is the version's; an unknown one is taken for the slowest."""
    assert safety.node_pause_per_mb(version) == pause


def test_without_a_past_the_general_cost_stands():
    """Nothing learned, nothing changed."""
    cost = Cost(1.0, 2.0, 3.0)

    estimate = safety.estimate(cost, 10, [])

    assert estimate == Estimate(cost, 0, 0)
    assert estimate.needed_bytes == 2


@given(
    basis=sizes,
    grown=st.floats(1.0, 10.0),
    noise=st.lists(st.floats(0.9, 1.1), min_size=1, max_size=8),
    wrong=st.floats(0.2, 5.0),
    per_byte=st.floats(0.5, 30),
)
def test_one_earlier_capture_keeps_a_prediction_within_30_percent(
    basis, grown, noise, wrong, per_byte
):
    """General figures five times off, and captures that vary by a tenth, cost less than 30 %."""
    truth = per_byte * basis * grown
    past = [Past(basis, Cost(n * 100, n * per_byte * basis, n * basis)) for n in noise]
    general = Cost(100 * grown * wrong, truth * wrong, basis * grown * wrong)

    estimate = safety.estimate(general, int(basis * grown), past)

    assert 0.7 * truth < estimate.cost.extra_memory_bytes < 1.3 * truth
    assert 0.7 * 100 * grown < estimate.cost.pause_millis < 1.3 * 100 * grown
    assert estimate.learned_from == len(noise)


def test_the_newest_capture_counts_most():
    """A service that changed is believed as it is now."""
    past = [Past(100, Cost(0, 900, 0)), Past(100, Cost(0, 100, 0)), Past(100, Cost(0, 100, 0))]

    assert safety.estimate(Cost(0, 100, 0), 100, past).extra_memory_bytes > 500


def test_garbage_in_the_heap_lowers_no_prediction():
    """A heap that is a little smaller may hold the same objects and less garbage."""
    past = [Past(100, Cost(0, 1000, 0))]

    assert safety.estimate(Cost(0, 1000, 0), 80, past).extra_memory_bytes == 1000
    assert safety.estimate(Cost(0, 500, 0), 50, past).extra_memory_bytes == 500


def test_kept_memory_is_used_again():
    """What a process kept from its last capture is not needed a second time."""
    estimate = safety.estimate(Cost(0, 400, 0), 10, [Past(10, Cost(0, 400, 0))], 300)

    assert estimate.extra_memory_bytes == 100
    assert estimate.needed_bytes == 220


@pytest.mark.parametrize(
    ("rss_now", "kept"), [(500, 300), (450, 250), (200, 0), (100, 0), (900, 300)]
)
def test_what_left_the_process_is_not_kept(rss_now, kept):
    """RSS that fell is gone; RSS that rose is the app's own."""
    assert safety.retained_bytes(300, 500, rss_now) == kept


def test_too_little_memory_is_refused_with_both_numbers():
    """The refusal says what is needed and what there is."""
    refused = safety.refusal(7, Estimate(Cost(1, 100 * MB, 1), 0, 0), room(99 * MB), 0)

    assert isinstance(refused, HeadroomError)
    assert refused.facts == {
        "pid": "7",
        "needed_bytes": str(100 * MB),
        "available_bytes": str(99 * MB),
    }
    assert str(100 * MB) in str(refused)
    assert str(99 * MB) in str(refused)


def test_a_learned_prediction_has_a_margin():
    """It is kept within 30 %, so 30 % more must be there."""
    learned = Estimate(Cost(1, 100 * MB, 1), 0, learned_from=1)

    assert safety.refusal(7, learned, room(125 * MB), 0) is not None
    assert safety.refusal(7, learned, room(131 * MB), 0) is None


def test_too_long_a_pause_is_refused_with_both_numbers():
    """The refusal names the predicted pause and the allowed one."""
    refused = safety.refusal(7, Estimate(Cost(1500.4, 1, 1), 0, 0), None, 1000)

    assert isinstance(refused, PauseBudgetError)
    assert "1500 ms and 1000 ms" in str(refused)
    assert safety.refusal(7, Estimate(Cost(900, 1, 1), 0, 0), None, 1000) is None


def test_no_limit_refuses_nothing():
    """Without any limit and any budget everything is allowed."""
    assert safety.refusal(7, Estimate(Cost(1e9, 1e15, 1), 0, 0), None, 0) is None


def test_the_verdict_crosses_a_call():
    """The preflight of a call has the figures, and the refusal where there is one."""
    estimate = Estimate(Cost(10.4, 20.6, 30), 0, 2)

    allowed = safety.to_pb(estimate, None, None)
    refused = safety.to_pb(estimate, room(5), HeadroomError(7, 20, 5))

    assert (allowed.pause_millis, allowed.extra_memory_bytes, allowed.learned_from) == (10, 21, 2)
    assert allowed.allowed
    assert not allowed.HasField("headroom_bytes")
    assert not refused.allowed
    assert refused.headroom_bytes == 5
    assert "cannot capture process 7" in refused.refusal
