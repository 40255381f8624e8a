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

_PREFIX = re.compile(r"[A-Za-z0-9-]*")
_OFF = ("off", "0", "no", "false")
# A method that nobody knows is a client's word, and must not become a label.
_METHODS = frozenset(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])


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


class _Traffic:
    """The requests that run in this process now, over all middlewares."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a forked child: the parent's requests are not its own."""
        self._lock = own_lock()
        self._running = 0
        self._begun = 0

    def enter(self) -> tuple[bool, int]:
        """Whether no other request runs now, and this one's number."""
        with self._lock:
            self._running += 1
            self._begun += 1
            return self._running == 1, self._begun

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
        self._rss = metrics.rss_bytes()
        self._profile = _profiles.begun()
        self._began = time.perf_counter()
        self._alone, self._number = _traffic.enter()
        self.done = False

    def headers(self) -> list[tuple[str, str]]:
        """The response's headers: the process's memory now, and what has happened so far."""
        prefix = self._settings.prefix
        if not prefix:
            return []
        try:
            found = [(f"{prefix}Duration-Millis", f"{self._millis():.1f}")]
            now = metrics.rss_bytes()
            if now is not None and self._rss is not None:
                found.append((f"{prefix}Memory-Bytes", str(now)))
                found.append((f"{prefix}Memory-Growth-Bytes", str(now - self._rss)))
            return found
        except Exception:
            return []

    def end(self, method: str, route: str, status: int) -> None:
        """Counts the request, once, however often it is called."""
        if self.done:
            return
        self.done = True
        try:
            alone = _traffic.leave(self._number) and self._alone
            self._end_profile()
            self._count(method, route, status, alone)
        except Exception:
            pass

    def _count(self, method: str, route: str, status: int, alone: bool) -> None:
        method = method if method in _METHODS else metrics.OTHER
        kind = f"{status // 100}xx" if 100 <= status < 600 else ""
        metrics.counter(
            "requests",
            1,
            {"method": method, "route": route, "status": kind},
            "Requests answered.",
        )
        metrics.histogram(
            "request_seconds",
            self._millis() / 1000,
            {"route": route},
            "Time until a request's response was complete.",
        )
        now = metrics.rss_bytes()
        if now is not None and self._rss is not None:
            metrics.histogram(
                "request_memory_bytes",
                max(0, now - self._rss),
                {"route": route, "alone": "yes" if alone else "no"},
                "Growth of the process's memory during a request; where alone is no, others ran "
                "in the same process and share it.",
                metrics.BYTES,
            )

    def _millis(self) -> float:
        return (time.perf_counter() - self._began) * 1000

    def _end_profile(self) -> None:
        profile, self._profile = self._profile, None
        if profile is not None:
            profile.__exit__(None, None, None)


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
