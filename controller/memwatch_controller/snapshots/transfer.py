"""Brings a snapshot over from an agent, whatever cuts the way.

Each cut is answered by asking for the rest. Only tries that bring nothing are counted, so a
way that is cut a thousand times still ends; one that brings nothing any more is given up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from memwatch_controller.errors import AgentError, DigestMismatchError
from memwatch_controller.model import CaptureOrder, CaptureProgress, Snapshot
from memwatch_controller.snapshots.ports import Agents, Spooled, Streams
from memwatch_controller.store.blobs import Part

#: Told of everything that happens while a snapshot is taken.
OnProgress = Callable[[CaptureProgress], None]

#: How long an agent may take where the order does not say: what agents.proto promises.
DEFAULT_TIMEOUT_MILLIS = 30 * 60 * 1000

#: What the agent gets beyond it, to say by itself that it gave up.
TIMEOUT_MARGIN_SECONDS = 60

#: Empty pieces in a row after which a stream counts as cut: it lives but brings nothing.
MAX_EMPTY_PIECES = 1_000

#: Of what befell a snapshot, so much is told.
_MAX_NOTE_CHARS = 300


@dataclass(frozen=True)
class Patience:
    """How long to try again: about 40 s without any byte, enough for an agent's restart.

    Attributes:
        tries: how many tries in a row may bring nothing.
        first_delay_seconds: the pause after the first of them; each next is twice as long,
        longest_delay_seconds: up to this.
    """

    tries: int = 13
    first_delay_seconds: float = 0.1
    longest_delay_seconds: float = 5.0

    def delay(self, fruitless: int) -> float:
        """The pause after so many fruitless tries in a row, 0 of them included."""
        doubled = self.first_delay_seconds * float(2 ** max(0, fruitless - 1))
        return min(self.longest_delay_seconds, doubled)


async def take(
    agents: Agents, address: str, order: CaptureOrder, on_progress: OnProgress, patience: Patience
) -> Snapshot:
    """Has an agent take a snapshot, and joins it again after a cut, which a note then tells.

    Raises:
        AgentError: the agent says no, or is not there any more.
    """
    events, lost = 0, ""
    found: Snapshot | None = None

    async def attempt() -> None:
        nonlocal events, found, lost
        try:
            async with aclosing(agents.capture(address, order)) as told:
                async for event in told:
                    if isinstance(event, Snapshot):
                        found = event
                        return
                    events += 1
                    on_progress(event)
        except AgentError as failure:
            lost = lost or str(failure)
            raise
        raise _cut("the agent ended the capture's events without a snapshot")

    seconds = (order.timeout_millis or DEFAULT_TIMEOUT_MILLIS) / 1000 + TIMEOUT_MARGIN_SECONDS
    try:
        async with asyncio.timeout(seconds):
            await _persist(attempt, lambda: events, patience)
    except TimeoutError as error:
        raise AgentError(
            "DEADLINE_EXCEEDED",
            "DEADLINE_EXCEEDED",
            f"cannot take a snapshot of target '{order.target_id}': the agent at '{address}' was "
            f"not done after {seconds:.0f} s; ask for a longer timeout",
        ) from error
    assert found is not None
    note = f"not had at the first try: {lost}"[:_MAX_NOTE_CHARS]
    return replace(found, notes=(*found.notes, note)) if lost else found


async def pull(
    agents: Streams, address: str, snapshot: Spooled, part: Part, patience: Patience
) -> None:
    """Brings the stored bytes of what is spooled into `part`, resuming after each cut.

    Raises:
        AgentError: the agent says no, or is not there any more.
        DigestMismatchError: it sends more than it announced, or bytes that cannot be decompressed.
        StoreFullError: there is no room.
    """

    async def attempt() -> None:
        empty = 0
        async with aclosing(agents.stream(address, snapshot.id, part.received)) as pieces:
            async for piece in pieces:
                if piece.data:
                    empty = 0
                    await part.append(piece.data)
                elif (empty := empty + 1) > MAX_EMPTY_PIECES:
                    raise _cut(f"{empty} empty pieces in a row")
                if piece.last:
                    return
        raise _cut(f"the stream ended after {part.received} bytes")

    if part.received < snapshot.stored_size_bytes:
        await _persist(attempt, lambda: part.received, patience)


async def _persist(
    attempt: Callable[[], Awaitable[None]], progress: Callable[[], int], patience: Patience
) -> None:
    """Runs `attempt` until it returns; gives up after `patience.tries` without progress."""
    fruitless = 0
    while True:
        before = progress()
        try:
            return await attempt()
        except AgentError as failure:
            if not failure.transient:
                raise
            fruitless = 0 if progress() > before else fruitless + 1
            if fruitless >= patience.tries:
                raise
        await asyncio.sleep(patience.delay(fruitless))


def check_announced(snapshot: Snapshot, order: CaptureOrder, most_bytes: int) -> None:
    """Refuses an answer that is not one to this order.

    Raises:
        DigestMismatchError: another request, or figures that cannot be.
    """
    what = f"the snapshot that the agent took for request '{order.request_id}'"
    if snapshot.request_id != order.request_id:
        raise DigestMismatchError(what, f"request {snapshot.request_id!r}", f"{order.request_id!r}")
    for digest in (snapshot.raw_sha256, snapshot.stored_sha256):
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise DigestMismatchError(what, f"digest {digest[:80]!r}", "64 hex digits")
    if not 0 < snapshot.stored_size_bytes <= most_bytes:
        raise DigestMismatchError(
            what, f"{snapshot.stored_size_bytes} bytes", f"between 1 and {most_bytes} bytes"
        )


def _cut(why: str) -> AgentError:
    return AgentError("UNAVAILABLE", "UNAVAILABLE", f"cannot go on: {why}", transient=True)
