"""Which interpreters the C walker may read: full versions, patch releases included."""

import pytest

from memwatch_hook import layouts

READ = [0x030912F0, 0x030A0DF0, 0x030B07F0, 0x030C01F0, 0x030D00F0, 0x030D0BF0, 0x030E0AF0]


@pytest.mark.parametrize("version", READ, ids=layouts.version)
def test_checked_versions_are_read(version):
    """An extension of the same minor is used, whatever the patch release; 3.14's is its own."""
    built = version if version >= 0x030E0000 else version & 0xFFFF00F0
    assert layouts.refusal(built, version, free_threaded=False) is None


@pytest.mark.parametrize(
    ("built", "running", "words"),
    [
        (0x030B07F0, 0x030C01F0, "built for CPython 3.11.7, not 3.12.1"),
        (0x030D00F0, 0x030D00C3, "CPython 3.13.0rc3 has a layout"),
        (0x030E00F0, 0x030E00F0, "not checked on CPython 3.14.0 (3.14 before 3.14.5)"),
        (0x030E09F0, 0x030E09F0, "not checked on CPython 3.14.9 (3.14.5 to 3.14.9)"),
        (0x030E0AF0, 0x030E0BF0, "not checked on CPython 3.14.11 (3.14 from 3.14.11)"),
        (0x030E0BF0, 0x030E0AF0, "built for CPython 3.14.11, not 3.14.10"),
        (0x030F00F0, 0x030F00F0, "CPython 3.15.0 has a layout"),
        (0x030812F0, 0x030812F0, "CPython 3.8.18 has a layout"),
    ],
)
def test_others_are_refused(built, running, words):
    """A version without a checked layout, or of another one than it was built for, is named."""
    assert words in (layouts.refusal(built, running, free_threaded=False) or "")


def test_free_threaded_builds_are_refused():
    """Without the lock there are no lists: never tried."""
    said = layouts.refusal(0x030D00F0, 0x030D00F0, free_threaded=True) or ""
    assert said.startswith("free-threaded")


def test_layouts_do_not_overlap():
    """A version has one layout at most, and pre-releases have none."""
    for one, other in zip(layouts.LAYOUTS, layouts.LAYOUTS[1:], strict=False):
        assert one.first < one.end <= other.first
