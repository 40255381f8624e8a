"""Recordings of single requests, which nobody waits for: a file in the hook's directory each.

The agent takes them from there (docs/formats/profiles.md). At most one is made at a time, at most
so many lie there, and old ones are removed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import json
import os
import time
from _thread import allocate_lock

from memwatch_hook import place
from memwatch_hook.originals import start_new_thread

from . import recorder
from .order import DEFAULT_BYTES, Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROFILE, META, PART = ".profile", ".profile.json", ".profile.part"

MAX_SECONDS = 60  # a request that takes longer is recorded up to here
MAX_WAITING = 8  # files that no agent has fetched yet; beyond, nothing is recorded
BEGIN_SECONDS = 0.05  # how long a request waits for its recording to begin
MEBIBYTE = 1 << 20
DAY_SECONDS = 86_400

DEFAULT_PROBABILITY = 0.01
DEFAULT_DAYS = 7.0


class Settings:
    """What the environment says; a value that cannot be is left out."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        def number(name: str, usual: float, most: float) -> float:
            try:
                value = float(environ.get(name, ""))
            except ValueError:
                return usual
            return value if 0 <= value <= most else usual

        self.kind = environ.get("MEMWATCH_PROFILING_KIND", "") or "allocations"
        self.probability = number(
            "MEMWATCH_PROFILING_REQUEST_PROBABILITY", DEFAULT_PROBABILITY, 1.0
        )
        size = number("MEMWATCH_PROFILING_MAX_SIZE_MB", DEFAULT_BYTES / MEBIBYTE, 16_384)
        self.max_bytes = max(1, int(size)) * MEBIBYTE
        self.keep_seconds = (
            number("MEMWATCH_PROFILING_CLEANUP_DAYS", DEFAULT_DAYS, 36_500) * DAY_SECONDS
        )
        self.folder = environ.get("MEMWATCH_PROFILING_OUTPUT_DIR", "") or place.directory()


def begin(settings: Settings, kind: str) -> Sampled | None:
    """A recording to be entered; None where another one runs, or too many files wait."""
    options = {"kind": kind, "seconds": MAX_SECONDS, "max_bytes": settings.max_bytes}
    recording = recorder.new(Order(options))
    if not _tidied(settings) or not recorder.turn.claim():
        return None
    return Sampled(recording, settings.folder)


class Sampled:
    """The recording of one request; `__exit__` only says that it is over."""

    def __init__(self, kind: Any, folder: str) -> None:
        self._kind = kind
        self._control = recorder.Control()
        self._begun = allocate_lock()
        self._told = False
        millis = int(time.time() * 1000)
        owner = f"{place.RUNTIME}-{os.getpid()}-{place.start_ticks() or 0}"
        self._path = os.path.join(folder, f"{owner}-{millis}-{kind.order.kind}")
        self._started_millis = millis

    def __enter__(self) -> Sampled:
        self._begun.acquire()
        recorder.turn.remember(self._kind)
        start_new_thread(self._run, ())
        if self._begun.acquire(True, BEGIN_SECONDS):
            self._begun.release()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.stop()

    def _run(self) -> None:
        """The thread's body. Never raises."""
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            self._record()
        except BaseException:  # nobody asked for it: nobody is told
            place.remove(self._path + PART)
        finally:
            self._started()
            recorder.turn.release()
            self._control.close()

    def _record(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._path + PART, flags, 0o600), "wb") as file:

            def sink(data: bytes) -> None:
                file.write(data)

            facts = recorder.record(
                self._kind, self._control, sink, lambda done, total: self._started()
            )
        os.rename(self._path + PART, self._path + PROFILE)
        facts["kind"] = self._kind.order.kind
        facts["started_millis"] = self._started_millis
        facts["ended_millis"] = int(time.time() * 1000)
        fresh = self._path + PART
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(json.dumps({"format": 1, **facts}).encode("utf-8", "replace"))
        os.rename(fresh, self._path + META)

    def _started(self) -> None:
        """Lets the request go on; once."""
        if not self._told:
            self._told = True
            self._begun.release()


def _tidied(settings: Settings) -> bool:
    """Removes files that are too old; whether there is room for one more."""
    if not place.make_directory():
        return False
    try:
        names = [
            name
            for name in os.listdir(settings.folder)[: place.MAX_TIDIED]
            if name.endswith((PROFILE, META, PART))
        ]
    except OSError:
        return False
    waiting, now = 0, time.time()
    for name in names:
        path = os.path.join(settings.folder, name)
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if found.st_uid == os.getuid() and now - found.st_mtime > settings.keep_seconds:
            place.remove(path)
        else:
            waiting += name.endswith(PROFILE)
    return waiting < MAX_WAITING
