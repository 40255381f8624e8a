"""Which interpreters the C walker may read: the layouts that it was checked on, by full version.

A layout is private to CPython and has changed in a patch release before (3.14.5). So an extension
is used only by a version of the same row as the one it was built for, and then only after it has
found its way in the process itself (`check` in csrc/module.c).
"""

from __future__ import annotations


class Layout:
    """Versions of one layout: from `first`, before `end`. `checked`: it was run and tested there.

    Both are as `sys.hexversion`; 0xF0 at the end of `first` leaves out pre-releases.
    """

    def __init__(self, name: str, first: int, end: int, checked: bool) -> None:
        self.name = name
        self.first = first
        self.end = end
        self.checked = checked


# Minors in security support do not change any more; a 3.13 of a later patch release is compared
# with what it says of itself (`_Py_DebugOffsets`). Within 3.14 the layout has changed already, so
# that each patch release counts by itself until it was run.
LAYOUTS = (
    Layout("3.9", 0x030900F0, 0x030A0000, True),
    Layout("3.10", 0x030A00F0, 0x030B0000, True),
    Layout("3.11", 0x030B00F0, 0x030C0000, True),
    Layout("3.12", 0x030C00F0, 0x030D0000, True),
    Layout("3.13", 0x030D00F0, 0x030E0000, True),
    # The incremental collector, taken back in a patch release.
    Layout("3.14 before 3.14.5", 0x030E00F0, 0x030E05A0, False),
    Layout("3.14.5 to 3.14.9", 0x030E05F0, 0x030E0AA0, False),
    Layout("3.14.10", 0x030E0AF0, 0x030E0BA0, True),
    Layout("3.14 from 3.14.11", 0x030E0BF0, 0x030F0000, False),
)


def refusal(built_for: int, running: int, free_threaded: bool) -> str | None:
    """Why an extension must not read a running interpreter; None: it may.

    Both versions are as `sys.hexversion`.
    """
    if free_threaded:
        return "free-threaded builds have no collector's lists to walk"
    layout = _layout(running)
    if layout is None:
        return f"CPython {version(running)} has a layout that the walker does not know"
    if not layout.checked:
        return (
            f"the walker was not checked on CPython {version(running)} ({layout.name}), and its "
            "layout has changed in patch releases"
        )
    if _layout(built_for) is not layout:
        return f"the walker is built for CPython {version(built_for)}, not {version(running)}"
    return None


def version(number: int) -> str:
    """A hexversion as people write it."""
    text = f"{number >> 24}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}"
    level = {0xA: "a", 0xB: "b", 0xC: "rc"}.get(number >> 4 & 0xF)
    return f"{text}{level}{number & 0xF}" if level else text


def _layout(number: int) -> Layout | None:
    return next((one for one in LAYOUTS if one.first <= number < one.end), None)
