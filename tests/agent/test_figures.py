"""`figures.py`: memory of every target, with hooks asked seldom and never waited for long."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from memwatch_agent import figures as module
from memwatch_agent.drivers.base import HeapFigures, Way
from memwatch_agent.drivers.errors import CaptureFailedError
from memwatch_agent.drivers.hookwire import Hello
from memwatch_agent.hooks import Hook
from tests.agent.fakes import MIB, Bench, target

HOOK = Hook(Path("/h"), Hello(1, "0.1.0", "node", "24.1.0", 7, 100, "", ("heap",)))


@pytest.fixture
def hooked():
    return replace(target("t-1"), hook=HOOK)


async def test_a_hook_is_asked_at_most_every_few_seconds(tmp_path, hooked):
    """Samples as often as one likes; the service is asked once in that time."""
    bench = Bench(tmp_path, hooked)

    samples = [await bench.figures.sample(hooked) for _ in range(20)]

    assert {sample.heap_used_bytes for sample in samples if sample} == {10 * MIB}
    assert bench.driver.opened == 1


async def test_a_target_without_a_hook_is_not_touched(tmp_path):
    """Nothing is opened for a figure; what a capture saw is told."""
    bench = Bench(tmp_path, target("t-1", ways=(Way.ATTACH,)))
    one = bench.roster.known["t-1"]

    sample = await bench.figures.sample(one)
    assert sample is not None and not sample.HasField("heap_used_bytes")
    bench.figures.learn("t-1", HeapFigures(5, 6))
    sample = await bench.figures.sample(one)

    assert sample is not None and sample.heap_used_bytes == 5
    assert bench.driver.opened == 0


async def test_a_hook_that_fails_or_hangs_costs_only_its_figure(tmp_path, hooked, monkeypatch):
    """The other figures come without it."""
    monkeypatch.setattr(module, "HEAP_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(module, "HEAP_SECONDS", 0)
    bench = Bench(tmp_path, hooked)
    bench.driver.open_error = CaptureFailedError(7, "broken")
    failed = await bench.figures.sample(hooked)
    bench.driver.open_error = None

    async def hang() -> HeapFigures:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(bench.driver, "figures", hang)
    hanging = await bench.figures.sample(hooked)

    for sample in (failed, hanging):
        assert sample is not None and sample.rss_bytes
        assert not sample.HasField("heap_used_bytes")


async def test_what_ended_is_left_out_and_forgotten(tmp_path, hooked):
    """A list has living targets only, and nothing is kept of the others."""
    bench = Bench(tmp_path, hooked, target("t-2", pid=8))
    assert [one.id for one in await bench.figures.described()] == ["t-1", "t-2"]
    del bench.roster.known["t-1"]

    assert [one.id for one in await bench.figures.described()] == ["t-2"]
    assert [one.id for one in bench.figures.latest] == ["t-2"]
    assert bench.figures.known_heap("t-1") is None
