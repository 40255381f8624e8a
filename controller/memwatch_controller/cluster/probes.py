"""How long a pod's service may stand still before its liveness probe has it killed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memwatch_controller.cluster.pods import Pod

#: What the API server fills in; a pod that it answers with has them, one of a file may not.
_DEFAULTS = {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 1}


@dataclass(frozen=True)
class Budget:
    """A container's liveness budget.

    The probes go on while the process stands still. After `sure_millis` enough of them may have
    failed, where the first one came right at the begin of the pause; after `full_millis` enough
    have failed whenever it began.

    Attributes:
        container: whose probe it is.
        period_seconds, failure_threshold, timeout_seconds: the probe's.
    """

    container: str
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int

    @property
    def full_millis(self) -> int:
        """The probe: periodSeconds × failureThreshold + timeoutSeconds."""
        return 1000 * (self.period_seconds * self.failure_threshold + self.timeout_seconds)

    @property
    def sure_millis(self) -> int:
        """The longest pause that no timing of the probes turns into a restart."""
        waited = self.period_seconds * (self.failure_threshold - 1)
        return 1000 * (waited + self.timeout_seconds)

    def __str__(self) -> str:
        return (
            f"{self.sure_millis / 1000:g} to {self.full_millis / 1000:g} s "
            f"(every {self.period_seconds} s, {self.failure_threshold} failures, timeout "
            f"{self.timeout_seconds} s)"
        )


def budget_of(pod: Pod, container_id: str = "") -> Budget | None:
    """The budget of a process by its container's id; None where no liveness probe watches it.

    Where the id is of no container that the pod tells, the tightest of all its probes counts.
    """
    name = pod.container_of(container_id)
    found = [
        budget
        for container in pod.services
        if (not name or container.get("name") == name) and (budget := _of(container)) is not None
    ]
    return min(found, key=lambda budget: budget.sure_millis, default=None)


def _of(container: Mapping[str, Any]) -> Budget | None:
    probe = container.get("livenessProbe")
    if not probe:
        return None
    period, threshold, timeout = (
        int(probe.get(name) or default) for name, default in _DEFAULTS.items()
    )
    return Budget(str(container.get("name")), period, threshold, timeout)
