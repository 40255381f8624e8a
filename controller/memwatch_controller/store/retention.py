"""Which snapshots are let go: by age, number and size, the oldest first; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from memwatch_controller.model import Millis, Snapshot


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept; 0: without limit.

    Attributes:
        age_millis: snapshots younger than this.
        count: so many, the newest.
        stored_bytes: so many as stored, the newest.
    """

    age_millis: int = 0
    count: int = 0
    stored_bytes: int = 0

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is ever let go."""
        return not (self.age_millis or self.count or self.stored_bytes)


@dataclass(frozen=True, slots=True)
class Expired:
    """A snapshot to let go, and why: "age", "count" or "bytes"."""

    snapshot: Snapshot
    why: str


def expired(newest_first: Iterable[Snapshot], policy: Policy, now: Millis) -> list[Expired]:
    """The snapshots that a policy does not keep, the oldest first."""
    found: list[Expired] = []
    count = size = 0
    for snapshot in newest_first:
        count, size = count + 1, size + snapshot.stored_size_bytes
        if policy.age_millis and snapshot.capture_time < now - policy.age_millis:
            found.append(Expired(snapshot, "age"))
        elif policy.count and count > policy.count:
            found.append(Expired(snapshot, "count"))
        elif policy.stored_bytes and size > policy.stored_bytes:
            found.append(Expired(snapshot, "bytes"))
    return found[::-1]
