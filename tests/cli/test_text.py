"""Values as words: sizes, ages, and names from outside that stay harmless."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatchctl import text


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (250 << 20, "250 MiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (2**63, "8192 PiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_size(count, words):
    """Bytes in the unit that leaves three digits."""
    assert text.size(count) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (2048, "+2.0 KiB"), (-3, "-3 B")])
def test_signed_size(count, words):
    """Growth has a sign."""
    assert text.signed_size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "now"), (45, "45s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (200_000, "2d")],
)
def test_age(seconds, words):
    """An age has one unit."""
    assert text.age(seconds) == words


@given(st.text(max_size=100))
def test_printable_has_no_controls(value):
    """Nothing that is printed can move a cursor, end a line or turn the writing direction."""
    shown = text.printable(value)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.text(max_size=300))
def test_safe_name_stays_in_its_folder(value):
    """A safe name is one path component that is not hidden and not too long."""
    name = text.safe_name(value)
    assert name and len(name) <= 128
    assert not name.startswith(".")
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
