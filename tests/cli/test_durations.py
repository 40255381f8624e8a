"""Lengths of time: what people type, and what they read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatchctl import durations


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("5", 300_000),
        ("0.1", 6_000),
        (".5", 30_000),
        (" 5 m ", 300_000),
        ("30s", 30_000),
        ("5M", 300_000),
        ("1.5h", 5_400_000),
        ("1h30m", 5_400_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("250ms", 250),
        ("366d", durations.MAX_MILLIS),
    ],
)
def test_parse(text, millis):
    """A bare number counts minutes, as in the ancestor; units and sums of units are read."""
    assert durations.parse(text) == millis


def test_parse_with_another_bare_unit():
    """A bare number counts what the flag says."""
    assert durations.parse("500", "ms") == 500


@pytest.mark.parametrize(
    "text", ["", "x", "-5", "5x", "1h30", "5 5", "0", "0s", "367d", "1e3", "٥", "5\n6", "9" * 400]
)
def test_parse_refuses(text):
    """What is no length of time, is nothing, or is too long, is refused in one short line."""
    with pytest.raises(ValueError, match=r"no length of time|out of range") as caught:
        durations.parse(text)
    assert len(str(caught.value)) < 150


@given(st.text(max_size=50))
def test_parse_never_fails_otherwise(text):
    """Any text is a length of time in range, or a ValueError."""
    try:
        millis = durations.parse(text)
    except ValueError:
        return
    assert 1 <= millis <= durations.MAX_MILLIS


@given(st.integers(1, durations.MAX_MILLIS))
def test_describe_reads_back(millis):
    """What is shown can be typed again, and is at most a second or 1/24 off."""
    shown = durations.describe(millis)
    again = durations.parse(shown.replace(" ", ""))
    assert abs(again - millis) <= max(millis / 24, 1000), shown


@pytest.mark.parametrize(
    ("millis", "text"),
    [(850, "850ms"), (2_500, "2.5s"), (90_000, "1m 30s"), (3_600_500, "1h"), (90_061_000, "1d 1h")],
)
def test_describe(millis, text):
    """At most two units, the largest first."""
    assert durations.describe(millis) == text
