"""What the snapshot service needs of others, each as small as it can be."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from memwatch_controller.model import CaptureOrder, CaptureProgress, Session, Snapshot


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a snapshot's stored bytes whose checksum was right.

    Attributes:
        offset: where it starts.
        data: at most 256 KiB; empty as a sign of life.
        last: whether the agent says that nothing follows.
    """

    offset: int
    data: bytes
    last: bool


class Streams(Protocol):
    """Agents by address, as far as bytes go."""

    def stream(self, address: str, snapshot_id: str, offset: int) -> AsyncGenerator[Piece]:
        """The stored bytes of a spooled artifact from `offset` on."""


class Spooled(Protocol):
    """What lies in an agent's spool."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def stored_size_bytes(self) -> int:
        """How many bytes there are."""


class Agents(Protocol):
    """Agents by address. All methods raise `AgentError`, `transient` where the way was cut."""

    def capture(
        self, address: str, order: CaptureOrder
    ) -> AsyncGenerator[CaptureProgress | Snapshot]:
        """Takes a snapshot, or joins or finds the one that the order's request id made."""

    def stream(self, address: str, snapshot_id: str, offset: int) -> AsyncGenerator[Piece]:
        """The stored bytes of a spooled snapshot from `offset` on."""

    async def spooled(self, address: str) -> Sequence[Snapshot]:
        """The finished snapshots that the agent holds."""

    async def discard(self, address: str, snapshot_id: str) -> None:
        """Lets the agent drop a snapshot that is safe."""


class SnapshotRows(Protocol):
    """The metadata of snapshots; `store.metadata.Metadata` is one."""

    async def insert_snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Writes a new one; where its request id is known, returns that one instead."""

    async def get_snapshot(self, id: str) -> Snapshot | None:
        """One snapshot."""

    async def find_snapshot_by_request(self, request_id: str) -> Snapshot | None:
        """The one that a request made."""

    async def delete_snapshot(self, id: str) -> None:
        """Forgets one."""

    async def get_session(self, id: str) -> Session | None:
        """The session that a snapshot belongs to."""
