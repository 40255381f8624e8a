"""Tells watchers of a session what changed; holds no more than the newest for a slow one."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from memwatch_controller.model import Session

#: Changes kept for one watcher; one that is slower loses the oldest, never the newest.
MAX_QUEUED = 64


class Subscription:
    """One watcher's queue."""

    def __init__(self) -> None:
        self._queued: deque[Session] = deque(maxlen=MAX_QUEUED)
        self._arrived = asyncio.Event()

    def put(self, session: Session) -> None:
        """Queues a change; drops the oldest where the queue is full."""
        self._queued.append(session)
        self._arrived.set()

    async def take(self, timeout_seconds: float) -> Session | None:
        """The next change; None where none arrives in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._queued:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        return self._queued.popleft()


class Feed:
    """All subscriptions, by session."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}

    @contextmanager
    def subscribe(self, session_id: str) -> Iterator[Subscription]:
        """A subscription for the length of the block."""
        subscription = Subscription()
        self._subscriptions.setdefault(session_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            others = self._subscriptions[session_id]
            others.discard(subscription)
            if not others:
                del self._subscriptions[session_id]

    def publish(self, session: Session) -> None:
        """Queues a change for everyone who watches this session."""
        for subscription in self._subscriptions.get(session.id, ()):
            subscription.put(session)

    def is_watched(self, session_id: str) -> bool:
        """Whether anyone would be told."""
        return session_id in self._subscriptions
