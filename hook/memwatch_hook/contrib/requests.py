"""What every middleware does with a request: measure, count, tell in headers, sample.

Nothing here raises into the app: a step of ours that fails is left out.
"""

from __future__ import annotations

import os
import re
import time
from importlib import import_module

from memwatch_hook import metrics, own_lock, register_at_fork, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEFAULT_PREFIX = "X-Memwatch-"
MAX_PREFIX_CHARS = 40

#: What a response tells: the time so far, the process's memory, and how that grew meanwhile.
HEADERS = ("Duration-Millis", "Memory-Bytes", "Memory-Growth-Bytes")

#: A look at the process's memory costs as much as all the rest. So one serves all requests of a
#: millisecond: what the memory grew by in shorter ones is told of the one that looks next. And
#: where requests follow each other, one begins with what was seen last.
SHARED_SECONDS = 0.001
FRESH_SECONDS = 0.005

_PREFIX = re.compile(r"[A-Za-z0-9-]*")
_OFF = ("off", "0", "no", "false")
# A method that nobody knows is a client's word, and must not become a label.
_METHODS = frozenset(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])


_KINDS = ("", "1xx", "2xx", "3xx", "4xx", "5xx")


class Settings:
    """What the environment says, read once."""

    def __init__(self, environ: Any = None) -> None:
        told = os.environ if environ is None else environ
        self.enabled = all(
            told.get(name, "").lower() not in _OFF
            for name in ("MEMWATCH_HOOK", "MEMWATCH_MONITORING_ENABLED")
        )
        prefix = told.get("MEMWATCH_HEADER_PREFIX", DEFAULT_PREFIX)
        good = len(prefix) <= MAX_PREFIX_CHARS and _PREFIX.fullmatch(prefix)
        #: Empty: no headers. A prefix that is no header's name would break every response.
        self.prefix = prefix if good else ""
        self.header_names = tuple(f"{self.prefix}{name}" for name in HEADERS)


class _Traffic:
    """The requests that run in this process now, over all middlewares."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a forked child: the parent's requests are not its own."""
        self._lock = own_lock()
        self._running = 0
        self._begun = 0
        #: When the process's memory was looked at last, and what it was.
        self.seen: tuple[float, int | None] = (0.0, None)

    def enter(self) -> tuple[bool, int]:
        """Whether no other request runs now, and this one's number."""
        with self._lock:
            self._running += 1
            self._begun += 1
            return self._running == 1, self._begun

    def look(self, now: float, not_before: float) -> int | None:
        """The process's memory, as it was at `not_before` or later."""
        at, rss = self.seen
        if at < not_before or rss is None:
            rss = metrics.rss_bytes()
            self.seen = now, rss
        return rss

    def leave(self, number: int) -> bool:
        """Whether no other request began since the one of this number did."""
        with self._lock:
            self._running -= 1
            return self._begun == number


class Request:
    """One request: what it found, and whether others ran at the same time."""

    __slots__ = ("_alone", "_began", "_number", "_profile", "_rss", "_settings", "done")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._profile = _profiles.begun()
        self._began = now = time.perf_counter()
        self._rss = _traffic.look(now, now - FRESH_SECONDS)
        self._alone, self._number = _traffic.enter()
        self.done = False

    def headers(self) -> list[tuple[str, str]]:
        """The response's headers: the process's memory now, and what has happened so far."""
        if not self._settings.prefix:
            return []
        try:
            duration, memory, growth = self._settings.header_names
            now = time.perf_counter()
            found = [(duration, f"{(now - self._began) * 1000:.1f}")]
            rss = _traffic.look(now, now - SHARED_SECONDS)
            if rss is not None and self._rss is not None:
                found.append((memory, str(rss)))
                found.append((growth, str(rss - self._rss)))
            return found
        except Exception:
            return []

    def end(self, method: str, route: str, status: int) -> None:
        """Counts the request, once, however often it is called."""
        if self.done:
            return
        self.done = True
        try:
            now = time.perf_counter()
            alone = _traffic.leave(self._number) and self._alone
            if self._profile is not None:
                self._end_profile()
            self._count(now, method, route, status, alone)
        except Exception:
            pass

    def _count(self, now: float, method: str, route: str, status: int, alone: bool) -> None:
        if method not in _METHODS:
            method = metrics.OTHER
        kind = _KINDS[status // 100] if 100 <= status < 600 else ""
        rss = _traffic.look(now, now - SHARED_SECONDS)
        values = [1.0, now - self._began]
        if rss is not None and self._rss is not None:
            values.append(rss - self._rss if rss > self._rss else 0)
        metrics.store.tell_together(
            (method, route, kind, alone, len(values)),
            values,
            lambda: _figures(method, route, kind, alone)[: len(values)],
        )

    def _end_profile(self) -> None:
        profile, self._profile = self._profile, None
        profile.__exit__(None, None, None)


def _figures(method: str, route: str, kind: str, alone: bool) -> list[metrics.Figure]:
    """What is counted of a request, in the order of the values."""
    return [
        metrics.Figure(
            metrics.COUNTER,
            "requests",
            {"method": method, "route": route, "status": kind},
            "Requests answered.",
        ),
        metrics.Figure(
            metrics.HISTOGRAM,
            "request_seconds",
            {"route": route},
            "Time until a request's response was complete.",
            metrics.SECONDS,
        ),
        metrics.Figure(
            metrics.HISTOGRAM,
            "request_memory_bytes",
            {"route": route, "alone": "yes" if alone else "no"},
            "Growth of the process's memory during a request; where alone is no, others ran "
            "in the same process and share it.",
            metrics.BYTES,
        ),
    ]


class Watch:
    """Begins the requests of one middleware."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()

    def begin(self) -> Request | None:
        """To be called as a request comes; None where it is not to be watched."""
        if not self._settings.enabled:
            return None
        try:
            return Request(self._settings)
        except Exception:
            return None


def guarded(step: Callable[[], str]) -> str:
    """What a step of ours finds out of the app's objects; empty where that fails."""
    try:
        return str(step())
    except Exception:
        return ""


class _Profiles:
    """The socket for `memwatch_hook.profiles.sample()`; does nothing where there is none.

    It decides by its own probability, and gives a context manager for a request that is to be
    profiled, else None.
    """

    def __init__(self) -> None:
        self._looked = False
        self._sample: Any = None

    def begun(self) -> Any:
        """A profile that has begun, for the request to end; None mostly."""
        try:
            if not self._looked:
                self._looked = True
                self._sample = getattr(import_module("memwatch_hook.profiles"), "sample", None)
            profile = None if self._sample is None else self._sample()
            if profile is not None:
                profile.__enter__()
            return profile
        except Exception:
            return None


_traffic = _Traffic()
register_at_fork(_traffic.forget)
_profiles = _Profiles()


def start_hook() -> None:
    """Starts the hook: an app with our middleware wants to be seen. Does nothing where it runs."""
    start()
