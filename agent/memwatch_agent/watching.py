"""The settings of the leak detector: what an agent watches for, and how often. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from memwatch_agent.detection.findings import Marks
from memwatch_agent.errors import SettingsError

#: A look costs milliseconds a target; more often than this tells nothing new.
LEAST_INTERVAL_SECONDS = 5.0
MOST_INTERVAL_SECONDS = 86_400.0

#: Name, metavar and help of each flag; the defaults are the ancestor's.
FLAGS = (
    ("detect", "on|off", "look for leaks in what is sampled anyway (on)"),
    ("detect-interval", "SECONDS", "how often (300)"),
    ("growth-threshold", "SHARE", "growth between two looks that is told; 0: none (0.2)"),
    ("memory-threshold", "BYTES", "memory that is told where there is no limit (100MB)"),
    ("type-growth-threshold", "SHARE", "growth of a type's objects; not judged yet (1.0)"),
)


@dataclass(frozen=True)
class Watching:
    """What the detector is told.

    Attributes:
        enabled: whether it looks at all.
        interval_seconds: between two looks.
        marks: the thresholds.
    """

    enabled: bool = True
    interval_seconds: float = 300.0
    marks: Marks = field(default_factory=Marks)


def watching(value: Callable[[str, str], str], size: Callable[[str, str], int]) -> Watching:
    """The settings; `value` gives a flag's text or its default, `size` reads bytes.

    Raises:
        SettingsError: a value that cannot be used.
    """
    detect = value("detect", "on").lower()
    if detect not in ("on", "off"):
        raise SettingsError("--detect", detect, "it is neither on nor off")
    interval = _number("--detect-interval", value("detect_interval", "300"))
    if not LEAST_INTERVAL_SECONDS <= interval <= MOST_INTERVAL_SECONDS:
        bounds = f"{LEAST_INTERVAL_SECONDS:g} to {MOST_INTERVAL_SECONDS:g}"
        raise SettingsError("--detect-interval", f"{interval:g}", f"write {bounds} seconds")
    marks = Marks(
        growth=_number("--growth-threshold", value("growth_threshold", "0.2")),
        memory_bytes=size("--memory-threshold", value("memory_threshold", "100MB")),
        type_growth=_number("--type-growth-threshold", value("type_growth_threshold", "1.0")),
    )
    return Watching(detect == "on", interval, marks)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise SettingsError(name, text, "it is no number from 0 up; write for example 0.2")
    return number
