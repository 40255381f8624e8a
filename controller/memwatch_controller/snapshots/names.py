"""Names of snapshot files: the ancestor's pattern, safe on every file system."""

import re
from datetime import UTC, datetime

from memwatch_controller.model import Millis

#: A name this long fits every file system, with a suffix added.
MAX_NAME_CHARS = 200

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

#: Characters of a container id that the ancestor showed.
_CONTAINER_CHARS = 12


def safe_name(name: str) -> str:
    """A name from outside as a file name: no separators, no controls, no leading dot."""
    kept = _UNSAFE.sub("_", name).lstrip("._-")
    return kept[-MAX_NAME_CHARS:].lstrip("._-") or "unnamed"


def file_name(container_id: str, phase: str, capture_time: Millis) -> str:
    """`session_{containerId}_{unixMillis}_{phase}_{isoDateTime}.heapsnapshot`."""
    container = safe_name(container_id)[:_CONTAINER_CHARS] if container_id else "upload"
    time = datetime.fromtimestamp(capture_time / 1000, UTC)
    iso = time.strftime("%Y-%m-%dT%H-%M-%S-") + f"{capture_time % 1000:03d}Z"
    part = safe_name(phase)[:64] if phase else "single"
    return f"session_{container}_{capture_time}_{part}_{iso}.heapsnapshot"
