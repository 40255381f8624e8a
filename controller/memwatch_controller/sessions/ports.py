"""What sessions need of the rest of the controller, as protocols; `app.py` wires them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from memwatch_controller import model
from memwatch_controller.model import OnAnalysis

#: Told the newest progress of a capture; must return at once.
OnProgress = Callable[[model.CaptureProgress], None]


class Captures(Protocol):
    """Takes snapshots on agents into the store (`snapshots.py`)."""

    async def capture(
        self, agent_address: str, order: model.CaptureOrder, on_progress: OnProgress
    ) -> model.Snapshot:
        """Has an agent take a snapshot; pulls, checks and stores it; then has it discarded.

        Idempotent by `order.request_id`: what is stored is returned as it is. Goes on where
        a cut connection left it. Cancelling the coroutine cancels the agent's Capture.

        Raises:
            ControllerError: with `transient` set where trying again soon makes sense.
        """

    async def discard_spooled(self, agent_address: str, session_id: str) -> None:
        """Has an agent discard what it still holds for a session that nobody waits for.

        Raises:
            ControllerError: the agent could not be asked.
        """

    async def delete(self, snapshot_id: str) -> None:
        """Deletes a snapshot's blob and metadata; a snapshot that is not there is no error."""


class PauseBudgets(Protocol):
    """Tells how long targets may stand still (`cluster/budgets.py`)."""

    async def of(self, target: model.Target) -> model.PauseBudget | None:
        """A target's budget; None where nobody watches it, or none is known."""


class NoBudgets:
    """Where no cluster watches targets by probes."""

    async def of(self, target: model.Target) -> model.PauseBudget | None:
        """Never one."""
        return None


class Workloads(Protocol):
    """Finds targets by the names of a cluster (`cluster/targets.py`)."""

    async def pick(self, plan: model.SessionPlan) -> list[model.Target]:
        """The targets of the pods that a plan's selector names; at least one.

        Raises:
            ControllerError: there are none, or not one that can be captured.
        """


class Analysis(Protocol):
    """Compares snapshots (`analysis.py`)."""

    async def compare(
        self,
        session_id: str,
        target_id: str,
        snapshot_ids: Sequence[str],
        on_progress: OnAnalysis | None = None,
    ) -> str:
        """Compares a target's snapshots, oldest first; the id of the stored report.

        Idempotent by session and target.

        Raises:
            ControllerError: with `transient` set where trying again soon makes sense.
        """
