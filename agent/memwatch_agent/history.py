"""What earlier captures have cost, kept in one small file of the state directory."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from memwatch_agent.drivers.base import Manner
from memwatch_agent.safety import Cost, Past, retained_bytes
from memwatch_agent.statedir import write_atomically

FORMAT = 1

#: A record is about 300 bytes; a host's targets, each with several captures.
MAX_RECORDS = 500

#: Older captures of the same process say no more.
MAX_PAST = 8

#: The file is not read beyond this.
_MAX_FILE_BYTES = 1024 * 1024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Record:
    """One capture.

    Attributes:
        target_id: the process it was of.
        kin: what its like have in common: runtime, version, way and service.
        basis_bytes: the size it was taken at.
        pause_millis, raw_size_bytes: what it cost.
        full_memory_bytes: the memory it took, with what the process had kept from before.
        retained_bytes: what the process kept of that afterwards.
        rss_after_bytes: its resident memory afterwards.
        duration_millis: how long it took.
        manner: who wrote it; empty in records of older agents, when it was the process itself.
        cpu_millis: processor time of whoever wrote it; 0 in records of older agents.
    """

    target_id: str
    kin: str
    basis_bytes: int
    pause_millis: float
    full_memory_bytes: float
    retained_bytes: float
    rss_after_bytes: int
    raw_size_bytes: int
    duration_millis: float
    manner: str = ""
    cpu_millis: float = 0.0

    @property
    def wrote(self) -> Manner:
        """Who wrote the snapshot."""
        return Manner.FORKED if self.manner == Manner.FORKED else Manner.BLOCKING

    @property
    def past(self) -> Past:
        """The record as the preflight takes it."""
        cost = Cost(
            self.pause_millis, self.full_memory_bytes, self.raw_size_bytes, self.duration_millis
        )
        return Past(self.basis_bytes, cost)

    def retained_at(self, rss_bytes: int) -> float:
        """What the process still keeps of this capture's memory."""
        return retained_bytes(self.retained_bytes, self.rss_after_bytes, rss_bytes)


class History:
    """The newest captures, oldest first. `learn` writes the file: call it from a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = _read(path)

    def past(self, target_id: str, kin: str) -> Sequence[Record]:
        """Earlier captures of a process, the newest first; of its like where it has none."""
        newest = self._records[::-1]
        own = [record for record in newest if record.target_id == target_id]
        return (own or [record for record in newest if record.kin == kin])[:MAX_PAST]

    def learn(self, record: Record) -> None:
        """Adds a capture. A file that cannot be written costs only what it would have taught."""
        self._records = [*self._records, record][-MAX_RECORDS:]
        fields = {"format": FORMAT, "captures": [asdict(one) for one in self._records]}
        try:
            write_atomically(self._path, json.dumps(fields).encode())
        except OSError as error:
            _log.warning("cannot keep what captures cost", cause=error.strerror)


def _read(path: Path) -> list[Record]:
    """The records of a file; none where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            fields: Any = json.loads(file.read(_MAX_FILE_BYTES))
        if fields["format"] != FORMAT:
            return []
        records = [Record(**one) for one in fields["captures"]]
        return [record for record in records if _sane(record)][-MAX_RECORDS:]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _sane(record: Record) -> bool:
    figures = (
        record.basis_bytes,
        record.pause_millis,
        record.full_memory_bytes,
        record.retained_bytes,
        record.rss_after_bytes,
        record.raw_size_bytes,
        record.duration_millis,
        record.cpu_millis,
    )
    return all(isinstance(figure, int | float) and figure >= 0 for figure in figures)
