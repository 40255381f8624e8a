"""Lengths of time as people type and read them. Pure."""

import re
from decimal import Decimal

#: A session longer than this is a mistake, not a plan.
MAX_MILLIS = 366 * 24 * 3600 * 1000

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?|\.\d{1,12})\s*(ms|[smhd])?", re.ASCII | re.IGNORECASE)


def parse(text: str, bare_unit: str = "m") -> int:
    """Milliseconds in a length of time such as `90s`, `5m`, `1h30m`, `1d`.

    A bare number (`5`, `0.1`) counts minutes, as in the ancestor of this tool, or `bare_unit`.

    Raises:
        ValueError: it is no length of time, is zero, or is longer than a year.
    """
    millis = _sum_of_parts(text.strip(), bare_unit)
    if millis is None:
        unit = {"m": "minutes", "ms": "milliseconds", "s": "seconds", "d": "days"}[bare_unit]
        raise ValueError(f"'{text[:40]}' is no length of time; write 5 ({unit}), 30s, 5m, 2h or 1d")
    if not 1 <= millis <= MAX_MILLIS:
        raise ValueError(f"'{text[:40]}' is out of range; from 1ms to 366d are possible")
    return millis


def _sum_of_parts(text: str, bare_unit: str) -> int | None:
    """The sum of `1h30m` or the value of `5`; None where it cannot be read."""
    position, total, bare = 0, Decimal(0), False
    while position < len(text):
        part = _PART.match(text, position)
        if part is None or bare:
            return None
        number, unit = part.groups()
        bare = unit is None
        total += Decimal(number) * _UNITS[(unit or bare_unit).lower()]
        position = part.end()
        if bare and part.start() > 0:
            return None
    return round(total) if text else None


def describe(millis: int) -> str:
    """A length of time in at most two units: `850ms`, `2.5s`, `1m 30s`, `2h 5m`, `3d`."""
    if millis < 1_000:
        return f"{millis}ms"
    if millis < 10_000:
        return f"{millis / 1000:.1f}".rstrip("0").rstrip(".") + "s"
    rest = millis // 1000
    parts = []
    for unit in ("d", "h", "m", "s"):
        size = _UNITS[unit] // 1000
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2])
