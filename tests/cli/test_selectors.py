"""A TARGET word and the flags beside it become a selector; a target list becomes one target."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_proto.v1 import targets_pb2
from memwatchctl import selectors
from memwatchctl.errors import TargetError
from tests.fakes.controller import make_target

Selector = targets_pb2.TargetSelector
Workload = targets_pb2.Workload


@pytest.mark.parametrize(
    ("word", "selector"),
    [
        ("web", Selector(name="web")),
        ("web-7d9f/x", Selector(name="web-7d9f/x")),
        ("service/", Selector(name="service/")),
        ("id/t-1", Selector(ids=["t-1"])),
        ("service/web", Selector(service="web")),
        ("container/4f5e", Selector(container_id="4f5e")),
        ("pid/4711", Selector(pid=4711)),
        (
            "pod/web-7d9f",
            Selector(name="web-7d9f", workload=Workload(kind="pod", name="web-7d9f")),
        ),
    ],
)
def test_word(word, selector):
    """A word is a name unless it says what it is."""
    assert selectors.selector(word) == selector


@given(st.text(max_size=300))
def test_any_word(word):
    """Any word is a selector of printable names, or a usage error."""
    try:
        made = selectors.selector(word)
    except click.UsageError:
        return
    assert made.name.isprintable() or any(not c.isascii() for c in made.name)


@pytest.mark.parametrize(
    "word", ["a\nb", "a\0b", "\x1b[31m", "x" * 300, "pid/x", "pid/0", "pid/9999999999"]
)
def test_refused(word):
    """Control characters, endless words and pids that are none are usage errors."""
    with pytest.raises(click.UsageError):
        selectors.selector(word)


def test_labels():
    """Labels are key=value, repeated or with commas; a word without = is a usage error."""
    assert selectors.labels(["a=1,b=2", "c=x=y"]) == {"a": "1", "b": "2", "c": "x=y"}
    with pytest.raises(click.UsageError):
        selectors.labels(["a"])


def test_only_prefers_the_living():
    """Of a living and a gone target of one name the living is meant."""
    living = make_target(1)
    gone = make_target(2, state=targets_pb2.TARGET_STATE_GONE)
    assert selectors.only([gone, living], "'shop'", "show") == living
    assert selectors.only([gone], "'shop'", "show") == gone


def test_only_lists_the_matches():
    """More matches than fit are counted."""
    with pytest.raises(TargetError, match=r"12 targets match: .* and 2 more"):
        selectors.only([make_target(n) for n in range(12)], "'shop'", "show")
