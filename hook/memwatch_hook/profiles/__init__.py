"""Profiles: recordings over time, made in the app by a thread that is there only meanwhile.

Nothing of this is imported before somebody asks, and nothing that a recording switches on stays
on: not when it ends, is given up, loses its agent, or is inherited by a forked child.

`sample()` is for whoever serves requests: it says whether this one is to be recorded.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .sampled import Settings

__all__ = ["sample"]


class _Sampling:
    """Decides for each request; off unless `MEMWATCH_PROFILING_ENABLED` says on."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._looked = False

    def sample(self, probability: float | None = None, kind: str = "") -> Any:
        """A context manager that records while a request runs; None, mostly, for most are not.

        Args:
            probability: of a request to be recorded; None: what the environment says (0.01).
            kind: what to record; "": what the environment says (`allocations`).
        """
        try:
            if not self._looked:
                self._looked = True
                self._settings = _settings()
            settings = self._settings
            if settings is None:
                return None
            wanted = settings.probability if probability is None else probability
            if int.from_bytes(os.urandom(4), "big") >= wanted * (1 << 32):
                return None
            from .sampled import begin

            return begin(settings, kind or settings.kind)
        except Exception:
            return None


def _settings() -> Settings | None:
    if os.environ.get("MEMWATCH_PROFILING_ENABLED", "").lower() not in ("on", "1", "yes", "true"):
        return None
    from .sampled import Settings

    return Settings(os.environ)


sample = _Sampling().sample
