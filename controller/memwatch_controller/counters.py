"""What the controller counts while it works, in a registry of its own (Prometheus)."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from memwatch_controller.errors import ControllerError
from memwatch_proto.status import Reason

#: Seconds that an analysis takes, from a small service to a heap of gigabytes.
_ANALYSIS_BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


class Counters:
    """Counters since the start of this process. Labels are reasons: few and ours."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.captures = Counter(
            "memwatch_captures",
            "Captures through agents, by outcome: 'stored' or the reason of the failure.",
            ["outcome"],
            registry=self.registry,
        )
        self.uploads = Counter(
            "memwatch_uploads",
            "Uploads of snapshots, by outcome: 'stored' or the reason of the failure.",
            ["outcome"],
            registry=self.registry,
        )
        self.analyses = Counter(
            "memwatch_analyses",
            "Comparisons of snapshots, by outcome: 'reported' or the reason of the failure.",
            ["outcome"],
            registry=self.registry,
        )
        self.analysis_seconds = Histogram(
            "memwatch_analysis_seconds",
            "Time of comparisons, waiting for a free worker included.",
            buckets=_ANALYSIS_BUCKETS,
            registry=self.registry,
        )
        self.received_bytes = Counter(
            "memwatch_stored_bytes_received",
            "Bytes of snapshots that were stored, as stored.",
            registry=self.registry,
        )


def outcome_of(error: ControllerError) -> str:
    """The label of a failure: one of our reasons, whatever an agent's word is."""
    return error.reason if error.reason in set(Reason) else "OTHER"
