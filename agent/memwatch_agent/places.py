"""Who may be captured or recorded now: one limiter for both.

A capture holds its pod: two at once would each be granted the same headroom. A recording holds
its process alone, for it may take an hour and costs little; so a session goes on in a pod while
another process of it is recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass

from memwatch_agent.errors import CaptureInProgressError
from memwatch_agent.targets import Target

#: Captures over all pods of a host: each holds a few MiB of the agent and most of a core.
MAX_CAPTURES = 4

#: Recordings over all pods of a host: each slows its service down, and holds a connection.
MAX_RECORDINGS = 8

MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 60.0


@dataclass(frozen=True)
class _Held:
    """What a running capture or recording holds."""

    request_id: str
    recording: bool
    target: Target
    remaining_seconds: Callable[[], float]


class Places:
    """The captures and recordings that run, and whether another one may begin."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def capture(
        self, request_id: str, target: Target, remaining_seconds: Callable[[], float]
    ) -> None:
        """Takes the pod for a capture.

        Raises:
            CaptureInProgressError: somebody holds it, or too many run.
        """
        self._hold(_Held(request_id, False, target, remaining_seconds))

    def recording(
        self, request_id: str, target: Target, remaining_seconds: Callable[[], float]
    ) -> None:
        """Takes the process for a recording.

        Raises:
            CaptureInProgressError: somebody holds it, or too many run.
        """
        self._hold(_Held(request_id, True, target, remaining_seconds))

    def free(self, request_id: str) -> None:
        """Gives back what a request held; nothing is no error."""
        self._held.pop(request_id, None)

    def _hold(self, wanted: _Held) -> None:
        limit = MAX_RECORDINGS if wanted.recording else MAX_CAPTURES
        alike = [held for held in self._held.values() if held.recording == wanted.recording]
        in_the_way = [held for held in self._held.values() if _excludes(held, wanted)]
        if len(alike) >= limit:
            in_the_way += alike
        if in_the_way:
            other = in_the_way[0]
            retry = min(max(other.remaining_seconds(), MIN_RETRY_SECONDS), MAX_RETRY_SECONDS)
            pid = wanted.target.found.pid
            raise CaptureInProgressError(pid, other.request_id, retry)
        self._held[wanted.request_id] = wanted


def _excludes(held: _Held, wanted: _Held) -> bool:
    """Whether two may not run at once."""
    if held.recording or wanted.recording:
        return held.target.id == wanted.target.id
    return held.target.memory_domain == wanted.target.memory_domain
