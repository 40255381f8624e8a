"""How an app that rewrites its memory is kept from copying all of it while a clone is walked. Pure.

A page that the app writes while the child lives is copied. What is copied may grow as the walk goes
on, from `free_bytes` at its beginning to `budget_bytes` at its end; an app that writes faster is
held back in short pieces, in which the child catches up. The app that writes no more than that,
which is nearly every one, is never held. docs/decisions/0047-held-back.md
"""

from __future__ import annotations

# What the goals allow an app at moderate traffic: 8 MB and 1.5 % of its memory.
FREE_BYTES = 8 << 20
FREE_SHARE = 0.015
# A child is held to this, of the app's memory; the rest of a quarter is for its own tables, and for
# what is written before the next look.
BUDGET_SHARE = 0.05
# What ends a walk: holding back does not help where threads without the GIL do the writing.
LIMIT_SHARE = 0.5
MIN_LIMIT_BYTES = 64 << 20

# One piece: no longer than a clone may take (15 ms and 40 ms a GB), since it is a pause like it.
HOLD_MILLIS = 15.0
HOLD_MILLIS_PER_BYTE = 40 / (1 << 30)
# All of them, as often as the expected CPU time of the walk: a child that gets no more than a third
# of a core is not waited for.
MOST_HELD = 3.0

# CPU milliseconds of a whole walk for each object: measured 0.08 to 0.1 us.
WALK_MILLIS_PER_OBJECT = 95e-6
MIN_WALK_MILLIS = 5.0


def limit(resident_bytes: int | None, asked: int) -> int:
    """What the walk and the app's writes may take: as much as was asked for, and our own limit."""
    own = max(MIN_LIMIT_BYTES, int(LIMIT_SHARE * (resident_bytes or 0)))
    return min(asked, own) if asked else own


class Pace:
    """Decides how long the app is held; `held_millis`, `pieces` and `longest_millis` so far."""

    def __init__(self, resident_bytes: int, limit_bytes: int, walk_millis: float) -> None:
        """Begins at the clone.

        Args:
            resident_bytes: of the app.
            limit_bytes: see `limit`.
            walk_millis: the child's CPU time for the whole, as far as is known.
        """
        self.held_millis = 0.0
        self.longest_millis = 0.0
        self.pieces = 0
        self._free = FREE_BYTES + FREE_SHARE * resident_bytes
        self._budget = min(max(BUDGET_SHARE * resident_bytes, self._free), 0.75 * limit_bytes)
        self._walk_millis = max(MIN_WALK_MILLIS, walk_millis)
        self._most = HOLD_MILLIS + HOLD_MILLIS_PER_BYTE * resident_bytes

    def hold_millis(self, written_bytes: int, walked_millis: float) -> float:
        """How long to hold the app now; 0: not at all.

        `written_bytes`: what the app has written since the clone. `walked_millis`: the child's CPU
        time since then.
        """
        walked = min(1.0, walked_millis / self._walk_millis)
        free = min(self._free, self._budget)
        allowed = free + (self._budget - free) * walked
        if written_bytes <= allowed or self.held_millis >= MOST_HELD * self._walk_millis:
            return 0.0
        # What the child needs to come to where so much may be written.
        to_catch_up = self._walk_millis * (written_bytes - allowed) / max(self._budget - free, 1.0)
        return min(max(to_catch_up, 1.0), self._most)

    def held(self, millis: float) -> None:
        """Takes note of a piece."""
        self.held_millis += millis
        self.longest_millis = max(self.longest_millis, millis)
        self.pieces += 1
