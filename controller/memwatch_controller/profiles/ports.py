"""What profiles need of others, each as small as it can be; `app.py` wires them."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from memwatch_controller import model
from memwatch_controller.profile import (
    Artifact,
    Profile,
    ProfileKind,
    ProfileState,
    Recording,
    RecordOrder,
)
from memwatch_controller.snapshots.ports import Piece

#: A change of a profile; None leaves it as it is. Must be fit to be called again.
Change = Callable[[Profile], Profile | None]


class Agents(Protocol):
    """Agents by address. All methods raise `AgentError`, `transient` where the way was cut."""

    def record(self, address: str, order: RecordOrder) -> AsyncGenerator[Recording | Artifact]:
        """Records, or joins or finds the recording that the order's request id made."""

    async def stop_recording(self, address: str, request_id: str) -> None:
        """Ends a recording before its time."""

    def stream(self, address: str, snapshot_id: str, offset: int) -> AsyncGenerator[Piece]:
        """The stored bytes of a spooled artifact from `offset` on."""

    async def discard(self, address: str, snapshot_id: str) -> None:
        """Lets the agent drop an artifact that is safe."""


class Targets(Protocol):
    """Finds targets and their agents; the registry is one."""

    def pick(self, selector: model.Selector, *, fleet: bool) -> list[model.Target]:
        """The target that is meant.

        Raises:
            ControllerError: none, too many, or not one that can be captured.
        """

    def get(self, id: str) -> model.Target:
        """One target, whether it lives or not.

        Raises:
            ControllerError: nobody knows it.
        """

    async def flush(self) -> None:
        """Writes down what is known of targets and agents."""

    def address_of(self, target: model.Target) -> str:
        """Where to dial the agent of a target whose process may still live.

        Raises:
            TargetEndedError, TargetUnreachableError: nowhere.
        """

    def replica_count(self, target: model.Target) -> int:
        """How many replicas of a target's service there are now, it included."""

    def agent_address(self, agent_id: str) -> str:
        """Where to dial an agent; empty where it is not known."""


class Places(Protocol):
    """How many recordings run at once; the captures' own limiter."""

    def recording(
        self, service: str, replicas: Callable[[], int]
    ) -> AbstractAsyncContextManager[None]:
        """A place of the service and of the controller, for the length of the block.

        Raises:
            ServiceBusyError: too many wait for that service, or it took too long.
        """


class ProfileRows(Protocol):
    """The metadata of profiles; `store.profiles.ProfileTable` is one."""

    async def insert(self, profile: Profile) -> Profile:
        """Writes a new one; where its request id is known, returns that one instead."""

    async def get(self, id: str) -> Profile | None:
        """One profile."""

    async def find_by_request(self, request_id: str) -> Profile | None:
        """The one that a request made."""

    async def list(
        self,
        *,
        states: Sequence[ProfileState] = (),
        service: str = "",
        target_id: str = "",
        kind: ProfileKind | None = None,
        created_before: model.Millis = 0,
        limit: int,
        after: tuple[model.Millis, str] | None = None,
    ) -> list[Profile]:
        """Profiles, the newest first."""

    async def change(self, id: str, change: Change) -> Profile | None:
        """Applies a change in one transaction; the profile after it, None where it is gone."""

    async def delete(self, id: str) -> None:
        """Forgets one."""
