"""What services recorded by themselves, and what somebody else put in its place."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.hooks import Hook
from memwatch_agent.sampled import PREFIX, Sampled
from memwatch_proto.v1 import common_pb2, snapshots_pb2
from tests.agent.fakes import Bench, target

STEM = "python-7-100-1795330000123-allocations"
DATA = b'{"format":1,"kind":"allocations"}'
TOLD = {
    "format": 1,
    "kind": "allocations",
    "size_bytes": len(DATA),
    "content_type": "application/json",
    "extension": "json",
    "pause_millis": 2.5,
    "ended_millis": 1_795_330_000_500,
    "notes": ["method: x"],
}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "hooks"
    made.mkdir()
    return made


@pytest.fixture
def bench(tmp_path):
    hello = hookwire.Hello(1, "0", "python", "3.11", 7, 100, "web", ())
    one = target("t-1", runtime=Runtime.PYTHON, root=tmp_path)
    return Bench(tmp_path, replace(one, hook=Hook(Path("s"), hello)))


@pytest.fixture
def sampled(bench, folder):
    return Sampled([folder], bench.roster, bench.spool, lambda: next(bench.ids), time.time)


def put(folder, stem=STEM, data=DATA, told=TOLD):
    (folder / f"{stem}.profile").write_bytes(data)
    (folder / f"{stem}.profile.json").write_text(json.dumps(told))


async def test_a_profile_comes_into_the_spool_once(bench, sampled, folder):
    """As an artifact that names its target and its time; the files go."""
    put(folder)
    await sampled.collect()
    await sampled.collect()

    [artifact] = sampled.waiting()
    assert artifact.request_id == f"{PREFIX}t-1.1795330000123"
    assert artifact.kind == common_pb2.SNAPSHOT_KIND_PROFILE
    assert artifact.profile_kind == common_pb2.PROFILE_KIND_ALLOCATIONS
    assert artifact.capture_time.ToMilliseconds() == 1_795_330_000_123
    assert artifact.end_time.ToMilliseconds() == 1_795_330_000_500
    assert artifact.raw_size_bytes == len(DATA)
    assert artifact.cost.pause_millis == 2
    assert list(artifact.notes)[1:] == ["method: x"]
    assert list(folder.iterdir()) == []

    put(folder)  # the agent was killed before it removed them
    await sampled.collect()
    assert len(sampled.waiting()) == 1
    assert list(folder.iterdir()) == []


async def test_what_lies_in_anothers_folder_is_left_to_it_for_a_minute(bench, folder, tmp_path):
    """Two agents of one host do not take what the other was given; in the end nothing is lost."""
    now = 100.0
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "o").mkdir()
    environ = {"MEMWATCH_HOOK_DIR": f"/{folder.name}"}
    known = bench.roster.targets[0]
    roster = Bench(
        tmp_path / "o", replace(known, found=replace(known.found, environ=environ))
    ).roster
    other = Sampled([mine], roster, bench.spool, lambda: next(bench.ids), lambda: now)
    stem = "-".join([*STEM.split("-")[:3], "99000", *STEM.split("-")[4:]])
    put(folder, stem)
    await other.collect()
    assert other.waiting() == []
    now = 160.0
    await other.collect()
    assert len(other.waiting()) == 1


async def test_files_of_unknown_processes_are_left(sampled, folder):
    """Their owner may not be known yet, and its hook removes them when they are old."""
    put(folder, "python-8-100-17-types")
    put(folder, "node-7-100-17-types")
    await sampled.collect()
    assert sampled.waiting() == []
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("told", [{**TOLD, "size_bytes": 1}, [], "x" * 70_000])
async def test_a_file_that_lies_is_dropped(bench, sampled, folder, told):
    """Another size than said, no description: nothing of it is kept."""
    put(folder, told=told)
    await sampled.collect()
    assert sampled.waiting() == []
    assert list(folder.iterdir()) == []
    assert bench.spool.used_bytes == 0


@pytest.mark.parametrize("trick", ["link", "pipe", "folder"])
async def test_nothing_but_a_plain_file_is_read(sampled, folder, tmp_path, trick):
    """No link is followed, no pipe is waited for."""
    put(folder)
    path = folder / f"{STEM}.profile"
    path.unlink()
    if trick == "link":
        secret = tmp_path / "secret"
        secret.write_bytes(DATA)
        path.symlink_to(secret)
    elif trick == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    await sampled.collect()
    assert sampled.waiting() == []


async def test_a_black_box_is_taken_when_its_process_is_dead(bench, folder, tmp_path, monkeypatch):
    """Of a process that was seen before; while it lives its box is left to it."""
    hello = hookwire.Hello(1, "0", "node", "24", 9, 100, "web", ())
    one = replace(target("t-9", runtime=Runtime.NODE, root=tmp_path), hook=Hook(Path("s"), hello))
    one = replace(one, found=replace(one.found, inner_pid=9, start_ticks=100))
    (tmp_path / "other").mkdir()
    roster = Bench(tmp_path / "other", one).roster
    sampled = Sampled([folder], roster, bench.spool, lambda: next(bench.ids), time.time)
    put(folder, "node-9-100-17-near-limit")

    monkeypatch.setattr(roster, "alive", lambda _: True, raising=False)
    await sampled.collect()
    assert sampled.waiting() == []

    monkeypatch.setattr(roster, "alive", lambda _: False)
    await sampled.collect()
    [artifact] = sampled.waiting()
    assert artifact.target_id == "t-9"
    assert artifact.profile_kind == common_pb2.PROFILE_KIND_NEAR_LIMIT
    assert list(artifact.notes) == ["method: x"]

    put(folder, "node-9-100-18-near-limit", told={**TOLD, "extension": "heapsnapshot"})
    await sampled.collect()
    [_, heap] = sampled.waiting()
    assert heap.kind == common_pb2.SNAPSHOT_KIND_HEAP
    assert heap.origin == snapshots_pb2.SNAPSHOT_ORIGIN_NEAR_LIMIT
    assert heap.file_name.endswith(".heapsnapshot")
