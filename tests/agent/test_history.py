"""`history.py`: what captures have cost, kept in one bounded file."""

import json

import pytest

from memwatch_agent import history
from memwatch_agent.history import History, Record


def record(target="t-1", kin="node/24/hook/web", basis=100, rss_after=500, retained=40.0) -> Record:
    return Record(target, kin, basis, 10.0, 50.0, retained, rss_after, 70, 12.0)


def test_captures_are_remembered_over_a_restart(tmp_path):
    """What was learned is there again, the newest first."""
    file = tmp_path / "history.json"
    first = History(file)
    first.learn(record(basis=1))
    first.learn(record(basis=2))

    assert [one.basis_bytes for one in History(file).past("t-1", "")] == [2, 1]


def test_a_process_has_its_own_past_before_that_of_its_like(tmp_path):
    """Captures of the same process count; those of its kin only where it has none."""
    known = History(tmp_path / "h")
    known.learn(record("t-1", basis=1))
    known.learn(record("t-2", basis=2))

    assert [one.basis_bytes for one in known.past("t-1", "node/24/hook/web")] == [1]
    assert [one.basis_bytes for one in known.past("t-3", "node/24/hook/web")] == [2, 1]
    assert known.past("t-3", "other") == []


def test_the_past_is_bounded(tmp_path, monkeypatch):
    """Neither the file nor one answer grows without end."""
    monkeypatch.setattr(history, "MAX_RECORDS", 20)
    known = History(tmp_path / "h")
    for basis in range(30):
        known.learn(record(basis=basis))

    assert len(known.past("t-1", "")) == history.MAX_PAST
    assert len(json.loads((tmp_path / "h").read_text())["captures"]) == 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": 9, "captures": []}',
        b'{"format": 1, "captures": [{"x": 1}]}',
        b"\xff",
    ],
)
def test_a_damaged_file_costs_only_what_it_knew(tmp_path, content):
    """A file that cannot be read is an empty past, and is replaced at the next capture."""
    file = tmp_path / "h"
    file.write_bytes(content)
    known = History(file)

    assert known.past("t-1", "") == []
    known.learn(record())
    assert len(History(file).past("t-1", "")) == 1


def test_a_lying_record_is_left_out(tmp_path):
    """Figures that cannot be are not used in arithmetic."""
    file = tmp_path / "h"
    known = History(file)
    known.learn(record(basis=-5))
    known.learn(record(basis=5))

    assert [one.basis_bytes for one in History(file).past("t-1", "")] == [5]


def test_a_full_disk_loses_only_the_lesson(tmp_path):
    """A file that cannot be written is no error of the capture."""
    known = History(tmp_path / "missing" / "h")

    known.learn(record())

    assert len(known.past("t-1", "")) == 1


def test_kept_memory_follows_rss():
    """What a process kept shrinks with its RSS."""
    assert record(rss_after=500, retained=40.0).retained_at(480) == 20
