"""Values as words for people: sizes, ages, names from outside. Pure."""

import re

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

#: C0 and C1 controls, and the characters that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """A text from outside that cannot move a terminal's cursor: controls become escapes."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def size(count: int) -> str:
    """Bytes with three digits: `0 B`, `1023 B`, `1.5 KiB`, `12.3 MiB`, `250 MiB`."""
    if abs(count) < 1024:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS[1:]:
        value /= 1024
        if abs(value) < 1023.5 or unit == _UNITS[-1]:
            break
    digits = 0 if abs(value) >= 100 else 1
    return f"{value:.{digits}f} {unit}"


def signed_size(count: int) -> str:
    """Bytes with a sign: `+1.5 MiB`, `-3 B`, `0 B`."""
    return f"+{size(count)}" if count > 0 else size(count)


def signed(count: int) -> str:
    """A count with a sign and groups: `+12,000`, `-3`, `0`."""
    return f"{count:+,}" if count else "0"


def age(seconds: float) -> str:
    """How long ago, in one unit: `now`, `45s`, `12m`, `5h`, `3d`."""
    if seconds < 1:
        return "now"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


def safe_name(text: str, limit: int = 128) -> str:
    """A text as part of a file name: only letters, digits, `.`, `_` and `-`, never a dot first."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")[:limit]
    return cleaned.lstrip(".") or "unnamed"
