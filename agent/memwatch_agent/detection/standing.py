"""Hysteresis: a finding stands after a few looks in a row, and falls when long unseen. Pure."""

from dataclasses import dataclass

#: Looks in a row that must see it before it is told: one look may be chance.
LOOKS_TO_STAND = 3

#: Looks in a row that must not see it before it is over: a pause is not the end.
LOOKS_TO_FALL = 24


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one finding is: seen or unseen so many looks in a row, and whether it is told."""

    stands: bool = False
    seen: int = 0
    unseen: int = 0

    def looked(
        self, saw: bool, to_stand: int = LOOKS_TO_STAND, to_fall: int = LOOKS_TO_FALL
    ) -> "Standing":
        """After one more look."""
        if saw:
            return Standing(self.stands or self.seen + 1 >= to_stand, self.seen + 1, 0)
        return Standing(self.stands and self.unseen + 1 < to_fall, 0, self.unseen + 1)
