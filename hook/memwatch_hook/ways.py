"""How a snapshot is taken for the shortest pause: in a clone of the process, or in place. Pure.

A clone stops the app for as long as the page tables take to copy, whatever is in the pages; a walk
in place stops it for as long as the objects take. So the walk in place wins where few objects have
much memory. Both are weighed by their CPU time: a starved machine stretches either.
"""

from __future__ import annotations

CLONE, IN_PLACE, FORK = "clone", "in place", "fork"

# CPU time, measured: 16 to 25 ms a GB with pages of 4 KiB, a tenth of that with huge ones, and
# 0.09 to 0.13 us an object. A process's own clones and walks correct both.
CLONE_MILLIS = 1.0
CLONE_MILLIS_PER_BYTE = 20 / (1 << 30)
IN_PLACE_MILLIS = 2.0
IN_PLACE_MILLIS_PER_OBJECT = 125e-6
HUGE_SHARE = 0.1

# In place must be so much shorter: nobody watches over it, and where it is given up for the clone
# the app has waited for both.
MARGIN = 1.5
# What was measured counts so much beside what was known before.
NEWEST = 0.5
# A rate is believed within this factor of the general one.
MOST_OFF = 8.0

# Below this a clone takes a few milliseconds and nothing needs to be weighed.
MIN_WEIGHED_BYTES = 256 << 20
# Smaller ones tell little of the rates.
MIN_LEARNED_BYTES = 64 << 20
MIN_LEARNED_OBJECTS = 200_000
# The longest walk in place where no clone is to be had: about 7 million objects.
MAX_IN_PLACE_MILLIS = 1000.0


def copied_bytes(anonymous: int, huge: int, left_out: int) -> int:
    """What a clone copies, in bytes of small pages: all but what is `huge` or `left_out` of it."""
    small = max(0, anonymous - huge - left_out)
    return small + int(HUGE_SHARE * min(huge, anonymous))


class Rates:
    """What a byte of a clone and an object of a walk in place cost, learned in this process."""

    def __init__(self) -> None:
        self._clone = CLONE_MILLIS_PER_BYTE
        self._object = IN_PLACE_MILLIS_PER_OBJECT

    def learn_clone(self, copied: int, cpu_millis: float) -> None:
        """Takes in what a clone has taken."""
        if copied >= MIN_LEARNED_BYTES:
            rate = max(0.0, cpu_millis - CLONE_MILLIS) / copied
            self._clone = _drawn(self._clone, rate, CLONE_MILLIS_PER_BYTE)

    def learn_walk(self, objects: int, cpu_millis: float) -> None:
        """Takes in what a walk has taken, a child's or in place."""
        if objects >= MIN_LEARNED_OBJECTS:
            rate = max(0.0, cpu_millis - IN_PLACE_MILLIS) / objects
            self._object = _drawn(self._object, rate, IN_PLACE_MILLIS_PER_OBJECT)

    def clone_millis(self, copied: int) -> float:
        """How long a clone stops the app that has a processor; see `copied_bytes`."""
        return CLONE_MILLIS + self._clone * copied

    def in_place_millis(self, objects: int) -> float:
        """How long a walk in place stops the app that has a processor."""
        return IN_PLACE_MILLIS + self._object * objects

    def in_place_is_shorter(self, copied: int, objects: int) -> bool:
        """Whether to walk in place."""
        if copied < MIN_WEIGHED_BYTES:
            return False
        return MARGIN * self.in_place_millis(objects) < self.clone_millis(copied)


def _drawn(known: float, measured: float, general: float) -> float:
    rate = (1 - NEWEST) * known + NEWEST * measured
    return min(max(rate, general / MOST_OFF), general * MOST_OFF)
