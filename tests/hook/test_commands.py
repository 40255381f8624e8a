"""What the quick commands answer, in this very process."""

import gc
import sys
import tracemalloc

import pytest

from memwatch_hook import commands, wire


def ask(command, **options):
    return commands.answer(wire.Request(1, command, options))


def test_info_cuts_argv(monkeypatch):
    """Argv has at most 512 characters in all, whole words first."""
    monkeypatch.setattr(sys, "argv", ["app", "x" * 500, "y" * 500, "z"])
    assert ask("info")["argv"] == ["app", "x" * 500, "y" * 9]


def test_info_says_who_we_are(monkeypatch):
    """The fields of HELLO, and more."""
    monkeypatch.setenv("MEMWATCH_SERVICE_NAME", "shop")
    info = ask("info")
    assert info.items() >= commands.hello().items()
    assert info["service"] == "shop"
    assert info["started_millis"] > 0


def test_stats_without_types_lists_none():
    """Generations with their counts; no rows of types."""
    stats = ask("stats")
    assert [set(row) for row in stats["gc"]] == [
        {"collections", "collected", "uncollectable", "count"}
    ] * 3
    assert stats["types"] == []
    assert stats["tracemalloc"] is None


def test_stats_lists_the_largest_types():
    """Rows have name, count and size, the largest first, as many as were asked for."""
    rows = ask("stats", types=5)["types"]
    assert len(rows) == 5
    assert [row["size_bytes"] for row in rows] == sorted(
        (row["size_bytes"] for row in rows), reverse=True
    )


@pytest.mark.parametrize("types", [-1, 301, "5", True, None])
def test_a_wrong_number_of_types_is_refused(types):
    """`types` is a number from 0 to 300."""
    with pytest.raises(wire.RequestError) as caught:
        ask("stats", types=types)
    assert caught.value.reason == wire.BAD_REQUEST


def test_stats_reports_tracemalloc_where_it_is_on():
    """Traced memory, its peak and the frames kept."""
    tracemalloc.start(3)
    try:
        traced = ask("stats")["tracemalloc"]
    finally:
        tracemalloc.stop()
    assert traced["frames"] == 3
    assert traced["peak_bytes"] >= traced["current_bytes"] > 0


def test_gc_counts_what_it_collected():
    """A planted ring is found."""
    gc.collect()
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert ask("gc")["collected"] >= 1


def test_an_unknown_command_names_the_known_ones():
    """The message says what this version knows."""
    with pytest.raises(wire.RequestError, match="knows info, stats, gc, heap") as caught:
        ask("dance" * 100)
    assert caught.value.reason == wire.UNKNOWN_COMMAND
