"""What a peer asks to be recorded: the options of `profile`, checked."""

from __future__ import annotations

from memwatch_hook import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_SECONDS = 3600  # a recording slows the app down: it ends, also where its agent forgets it
MAX_FRAMES = 128  # of a stack: what tracemalloc keeps for each costs the app memory and time
MIN_BYTES, MAX_BYTES = 1 << 16, 1 << 34  # of the artifact
DEFAULT_BYTES = 100 << 20


class Order:
    """How to record; the fields are those of the wire."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Reads them.

        Raises:
            RequestError: one is not what it should be.
        """
        self.kind = options.get("kind", "")
        if type(self.kind) is not str:
            raise _bad("kind", "the name of a kind")
        self.seconds = _number(options, "seconds", 0.0, 0, MAX_SECONDS)
        self.max_bytes = int(_number(options, "max_bytes", DEFAULT_BYTES, MIN_BYTES, MAX_BYTES))
        self.frames = int(_number(options, "frames", 16, 1, MAX_FRAMES))
        self.native_traces = _flag(options, "native_traces")
        self.python_allocator = _flag(options, "python_allocator")
        self.aggregate = _flag(options, "aggregate")
        self.gc = _flag(options, "gc")
        self.force = _flag(options, "force")


def _number(options: dict[str, Any], name: str, usual: float, least: float, most: float) -> float:
    value = options.get(name, usual)
    if type(value) not in (int, float) or not least <= value <= most:
        raise _bad(name, f"a number from {least} to {most}")
    return float(value)


def _flag(options: dict[str, Any], name: str) -> bool:
    value = options.get(name, False)
    if type(value) is not bool:
        raise _bad(name, "true or false")
    return value


def _bad(name: str, expected: str) -> wire.RequestError:
    return wire.RequestError(
        wire.BAD_REQUEST, f"cannot record a profile: '{name}' must be {expected}"
    )
