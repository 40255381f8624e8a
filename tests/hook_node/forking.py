"""What the tests of forked snapshots share: the addon, and a peer that asks for one."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from memwatch_agent.attempts import MAX_FORKS
from memwatch_agent.drivers import hookwire as wire
from memwatch_agent.drivers.base import Bounds, CaptureFacts, Link
from memwatch_agent.drivers.errors import ForkFailedError
from tests.agent.drivers.apps import Collected
from tests.support import fork_addon


def addon() -> Path:
    """The built addon; skips the test, with the reason, where there is none."""
    found = fork_addon.built()
    if isinstance(found, str):
        pytest.skip(found)
    return found


async def forked_by(link: Link) -> tuple[bytes, CaptureFacts]:
    """A forked snapshot over a link, tried again as the agent does."""
    for left in range(MAX_FORKS - 1, -1, -1):
        sink = Collected()
        try:
            facts = await link.capture_forked(sink.take, lambda _: None, Bounds(60))
            return sink.data, facts
        except ForkFailedError:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


@dataclass
class Outcome:
    """What came of one request."""

    type: int
    fields: dict[str, Any]
    data: bytes
    stages: list[str] = field(default_factory=list)

    @property
    def result(self) -> dict[str, Any]:
        """The RESULT's own part."""
        assert self.type == wire.FrameType.RESULT, self.fields
        result: dict[str, Any] = self.fields["result"]
        return result

    @property
    def message(self) -> str:
        """The ERROR's sentence."""
        assert self.type == wire.FrameType.ERROR, self.fields
        return str(self.fields["message"])


class Peer:
    """An agent that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.last_id = 0

    @classmethod
    async def connected(cls, path: Path) -> "Peer":
        """A peer that has read HELLO."""
        peer = cls(*await asyncio.open_unix_connection(str(path), limit=1 << 20))
        type_, payload = await peer.next()
        assert type_ == wire.FrameType.HELLO
        assert json.loads(payload)["pauses"] == ["blocking", "forked"]
        return peer

    async def next(self) -> tuple[int, bytes]:
        """The next frame."""
        head = await asyncio.wait_for(self.reader.readexactly(5), 60)
        payload = await self.reader.readexactly(int.from_bytes(head[:4], "big"))
        return head[4], payload

    def ask(self, command: str = "heap", **options: Any) -> int:
        """Sends a request; returns its id."""
        self.last_id += 1
        request = {"id": self.last_id, "command": command, "options": options}
        self.writer.write(wire.json_frame(wire.FrameType.REQUEST, request))
        return self.last_id

    async def outcome(self) -> Outcome:
        """What comes until the request is done."""
        parts, stages = [], []
        while True:
            type_, payload = await self.next()
            if type_ == wire.FrameType.DATA:
                parts.append(payload)
            elif type_ == wire.FrameType.PROGRESS:
                stages.append(str(json.loads(payload)["stage"]))
            else:
                return Outcome(type_, json.loads(payload), b"".join(parts), stages)

    async def forked(self, **options: Any) -> Outcome:
        """A forked snapshot, or why there is none; one that got stuck is tried again."""
        for _ in range(MAX_FORKS):
            self.ask(pause="forked", **options)
            outcome = await self.outcome()
            if outcome.fields.get("cause") != "stuck":
                break
        return outcome

    def close(self) -> None:
        """Goes away."""
        self.writer.close()
