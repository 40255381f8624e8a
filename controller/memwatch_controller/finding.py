"""Findings: what the leak detectors of the agents saw, as values."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from memwatch_controller.model import Millis


class FindingType(enum.Enum):
    """What was seen; see findings.proto."""

    MEMORY_LEAK = "memory_leak"
    MEMORY_GROWTH = "memory_growth"
    HIGH_MEMORY = "high_memory"
    TYPE_GROWTH = "type_growth"


class Severity(enum.IntEnum):
    """How bad it is."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One thing to do, and the command that does it, if there is one."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen of one process, from when it was first seen until it is over.

    Attributes:
        id: made by the agent, the same for as long as it stands.
        agent_id, service, namespace, pod: of its target, as the controller knows it.
        since_time: from when on it is; first_seen_time: when it was told;
        last_seen_time: when the detector last looked; end_time: when it was over, 0: it stands.
        evidence: numbers by name, in base units.
        acknowledged_by, acknowledged_time: who knows of it, if somebody does.
    """

    id: str
    target_id: str
    type: FindingType
    severity: Severity
    subject: str
    summary: str
    since_time: Millis
    first_seen_time: Millis
    last_seen_time: Millis
    end_time: Millis = 0
    evidence: Mapping[str, float] = field(default_factory=dict)
    recommendations: tuple[Recommendation, ...] = ()
    agent_id: str = ""
    service: str = ""
    namespace: str = ""
    pod: str = ""
    acknowledged_by: str = ""
    acknowledged_time: Millis = 0

    @property
    def stands(self) -> bool:
        """Whether it is not over."""
        return self.end_time == 0

    @property
    def rank(self) -> int:
        """By what lists are ordered: the worst first, then the newest."""
        return self.severity * 10**13 + min(self.first_seen_time, 10**13 - 1)


def is_news(before: Finding | None, now: Finding) -> bool:
    """Whether people would want to hear of it: it is new, better, worse, or over."""
    return before is None or (before.severity, before.end_time, before.acknowledged_by) != (
        now.severity,
        now.end_time,
        now.acknowledged_by,
    )
