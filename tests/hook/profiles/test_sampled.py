"""Recordings of sampled requests, in this very process."""

import json
import os
import tracemalloc

import pytest

from memwatch_hook import profiles
from memwatch_hook.profiles import recorder, sampled
from tests.support.processes import wait_until


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Profiling is on, into a folder of the test's own."""
    monkeypatch.setenv("MEMWATCH_HOOK_DIR", str(tmp_path))
    monkeypatch.setenv("MEMWATCH_PROFILING_ENABLED", "on")
    return tmp_path


def sampler():
    """A fresh decision, which reads the environment anew."""
    return profiles._Sampling().sample


def files(folder, end):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(end))


def test_profiling_is_off_unless_it_is_switched_on(monkeypatch):
    """Then nothing is recorded, whatever the probability."""
    monkeypatch.delenv("MEMWATCH_PROFILING_ENABLED", raising=False)
    assert sampler()(1.0) is None


def test_a_sampled_request_becomes_a_file(folder):
    """The artifact and its description; tracing is off, and the next request may be recorded."""
    with sampler()(1.0):
        assert tracemalloc.is_tracing()
        kept = [bytes(1000) for _ in range(200)]
    wait_until(lambda: files(folder, sampled.META))
    [meta], [data] = files(folder, sampled.META), files(folder, sampled.PROFILE)
    told = json.loads((folder / meta).read_text())
    assert meta == data + ".json"
    assert told["kind"] == "allocations"
    assert told["size_bytes"] == (folder / data).stat().st_size
    assert told["ended_millis"] >= told["started_millis"] > 0
    document = json.loads((folder / data).read_text())
    assert max(row[3] for row in document["stacks"]) >= 200 * 1000 > 0
    assert kept
    assert (folder / data).stat().st_mode & 0o777 == 0o600
    wait_until(lambda: not tracemalloc.is_tracing())
    assert files(folder, sampled.PART) == []


def test_one_at_a_time(folder):
    """A second request is not recorded while one is; nor is a peer's profile."""
    sample = sampler()
    with sample(1.0):
        assert sample(1.0) is None
        assert not recorder.turn.claim()
    wait_until(lambda: files(folder, sampled.META))
    wait_until(recorder.turn.claim)
    recorder.turn.release()


def test_files_that_nobody_fetches_are_bounded_and_age(folder):
    """Beyond the most nothing is recorded; what is too old is removed."""
    for number in range(sampled.MAX_WAITING):
        (folder / f"python-1-1-{number}-types.profile").touch()
    sample = sampler()
    assert sample(1.0) is None
    old = folder / "python-1-1-0-types.profile"
    os.utime(old, (1, 1))
    with sample(1.0, "allocations"):
        assert not old.exists()
    wait_until(lambda: files(folder, sampled.META))


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.2, 20, 400)])
def test_the_probability_is_kept(folder, monkeypatch, probability, least, most):
    """Of 1,000 requests about so many."""
    chosen = []
    monkeypatch.setattr(sampled, "begin", lambda settings, kind: chosen.append(kind))
    sample = sampler()
    for _ in range(1_000):
        sample(probability)
    assert least <= len(chosen) <= most


def test_settings_of_the_environment(monkeypatch):
    """Each has its default, and one that cannot be is left out."""
    usual = sampled.Settings({})
    assert (usual.kind, usual.probability) == ("allocations", 0.01)
    assert (usual.max_bytes, usual.keep_seconds) == (100 << 20, 7 * 86_400)
    told = sampled.Settings(
        {
            "MEMWATCH_PROFILING_KIND": "types",
            "MEMWATCH_PROFILING_REQUEST_PROBABILITY": "0.5",
            "MEMWATCH_PROFILING_MAX_SIZE_MB": "3",
            "MEMWATCH_PROFILING_CLEANUP_DAYS": "1",
            "MEMWATCH_PROFILING_OUTPUT_DIR": "/somewhere",
        }
    )
    assert (told.kind, told.probability, told.folder) == ("types", 0.5, "/somewhere")
    assert (told.max_bytes, told.keep_seconds) == (3 << 20, 86_400)
    odd = sampled.Settings({"MEMWATCH_PROFILING_REQUEST_PROBABILITY": "nan"})
    assert odd.probability == 0.01


def test_a_request_that_cannot_be_recorded_goes_on(folder, monkeypatch):
    """No such kind, a folder that cannot be written: None, and no exception."""
    assert sampler()(1.0, "no-such-kind") is None
    monkeypatch.setenv("MEMWATCH_PROFILING_OUTPUT_DIR", "/proc/no-such-folder")
    assert sampler()(1.0) is None
    assert recorder.turn.claim()
    recorder.turn.release()
