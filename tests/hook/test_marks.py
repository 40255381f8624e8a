"""Marks of values: the same for the same value, nothing about it, and no code of the app."""

import pytest

from memwatch_hook import _marks


@pytest.mark.parametrize("value", ["text", b"bytes", 7, 1.5, 2j, "x" * 10_000, 10**400])
def test_a_mark_is_stable_and_fits_its_field(value):
    """Twice the same value has one mark of 32 bits that is not 0."""
    mark = _marks.MARKS[id(type(value))](value)
    assert 0 < mark < 1 << 32
    assert mark == _marks.MARKS[id(type(value))](value)


def test_values_are_told_apart():
    """A thousand values have a thousand marks."""
    assert len({_marks.mark_of_text(f"/burst/{number}") for number in range(1000)}) == 1000
    assert len({_marks.mark_of(number) for number in range(1000)}) == 1000


def test_a_mark_is_not_the_values_own_hash():
    """A small number cannot be read off its mark."""
    assert all(_marks.mark_of(number) != number for number in range(1000))


def test_only_plain_values_are_marked():
    """A subclass may run the app's code when it is hashed: it has no mark."""

    class Loud(str):
        def __hash__(self):
            raise AssertionError("hashed")

    assert id(Loud) not in _marks.MARKS
