"""Paths in words: as in the source, without the engine's parts, cut where they are data."""

import pytest

from memwatch_heap.paths import Step
from memwatch_heap.words import class_word, expression


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([("context", "cache")], "cache"),
        ([("context", "Widget"), ("property", "all")], "Widget.all"),
        ([("context", "pool"), ("property", "idle"), ("element", "3")], "pool.idle[3]"),
        ([("context", "routes"), ("property", "/a b")], "routes[/a b]"),
        ([("property", "local"), ("property", "[key]"), ("property", "jobs")], "local[key].jobs"),
        ([("context", "signal"), ("property", "#events")], "signal.#events"),
        ([("context", "f"), ("internal", "context"), ("context", "seen")], "f → seen"),
        ([("context", "cache"), ("internal", "table"), ("internal", "6")], "cache → entry"),
        ([("context", "table"), ("property", "rows")], "table.rows"),
        ([("internal", "__dict__"), ("property", "history")], "history"),
        (
            [("context", "app"), ("internal", "1 / part of key (Object @1) -> value (Array @2)")],
            "app → its value in a WeakMap",
        ),
        ([], ""),
    ],
)
def test_steps_are_said_as_in_the_source(steps, words):
    """Each kind of edge has its way of being written."""
    assert expression([Step(kind, label, 0) for kind, label in steps]) == words


def test_a_long_label_is_cut():
    """A property name of a thousand letters is data."""
    assert len(expression([Step("property", "x" * 1000, 0)])) == 80


def test_classes_of_the_engine_lose_their_prefix():
    """`system / PromiseReaction` is a PromiseReaction."""
    assert class_word("system / PromiseReaction") == "PromiseReaction"
    assert class_word("Report") == "Report"
