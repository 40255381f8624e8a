"""`sampling.py`: figures that can be read, and no figure where none can."""

import os
from pathlib import Path

import pytest

from memwatch_agent import procfs, sampling
from memwatch_agent.drivers.base import HeapFigures
from memwatch_agent.sampling import Sampler

NOW = 1_795_330_000.5
MINE = procfs.stat("/proc/self")


@pytest.fixture
def sampler() -> Sampler:
    return Sampler(Path("/proc"), lambda: NOW)


def test_a_real_process_is_sampled(sampler):
    """RSS, PSS and CPU of this very process; the heap where it is told."""
    assert MINE is not None
    sample = sampler.sample(os.getpid(), MINE.start_ticks, HeapFigures(5, 6))

    assert sample is not None
    assert sample.rss_bytes > 1024 * 1024
    assert sample.cpu_millis > 0
    assert sample.sample_time.ToMilliseconds() == NOW * 1000
    assert (sample.heap_used_bytes, sample.heap_limit_bytes) == (5, 6)


def test_another_process_of_the_same_pid_is_not_sampled(sampler):
    """A pid that was given away is no longer the target."""
    assert MINE is not None
    assert sampler.sample(os.getpid(), MINE.start_ticks + 1) is None
    assert sampler.sample(2**22, 1) is None


def test_pss_of_a_large_process_is_left_out(sampler, monkeypatch):
    """Reading it would hold the process's memory map for too long."""
    assert MINE is not None
    monkeypatch.setattr(sampling, "MAX_PSS_RSS_BYTES", 1)
    sample = sampler.sample(os.getpid(), MINE.start_ticks)

    assert sample is not None
    assert not sample.HasField("pss_bytes")
    assert not sample.HasField("heap_used_bytes")


def test_an_unseen_process_has_what_its_hook_says(sampler):
    """Of a process outside the agent's pid namespace nothing is made up."""
    sample = sampler.unseen(HeapFigures(5, None))

    assert sample.heap_used_bytes == 5
    assert not sample.HasField("rss_bytes")
    assert not sample.HasField("heap_limit_bytes")
