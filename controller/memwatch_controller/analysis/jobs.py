"""What a worker process is asked and what it answers: one JSON document each way; pure.

Before its answer a worker may write lines of progress, each a JSON list.

The numbers of the answer are those of docs/formats/report.md. Nothing in here imports numpy:
the controller reads answers, only the worker makes them.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from memwatch_controller.model import AnalysisProgress


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """One snapshot of a job: a readable file, what errors call it, and when it was taken."""

    id: str
    path: str
    id_epoch: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """Snapshots of one target, oldest first; the first and the last are compared.

    Attributes:
        memory_bytes: the worker's limit for its own memory.
        max_classes: how many classes are listed.
    """

    snapshots: tuple[JobSnapshot, ...]
    memory_bytes: int
    max_classes: int


@dataclass(frozen=True, slots=True)
class IndexJob:
    """One snapshot whose index is to be written.

    Attributes:
        snapshot: the file to read.
        index_path: the file to write; it appears there when it is whole.
        digest: of the snapshot; who opens the index must name it.
        memory_bytes: the worker's limit for its own memory.
    """

    snapshot: JobSnapshot
    index_path: str
    digest: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Whole figures of one snapshot: nodes of size 0 are not counted."""

    object_count: int
    shallow_size_bytes: int


@dataclass(frozen=True, slots=True)
class ClassChange:
    """How one class changed; where ids do not compare, new and gone are the net change."""

    class_name: str
    count_before: int
    count_after: int
    shallow_size_before_bytes: int
    shallow_size_after_bytes: int
    new_count: int
    new_size_bytes: int
    gone_count: int
    gone_size_bytes: int

    @property
    def count_delta(self) -> int:
        """Objects more than before."""
        return self.count_after - self.count_before

    @property
    def size_delta(self) -> int:
        """Bytes more than before."""
        return self.shallow_size_after_bytes - self.shallow_size_before_bytes


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a worker found.

    Attributes:
        by_id: whether objects were told apart by id.
        totals: one for each snapshot of the job, in its order.
        classes: by growth of shallow size, the most first; cut at the job's `max_classes`.
        class_count: how many classes there are in all.
        verdict: the document of docs/formats/verdict.md; None where ids do not compare.
        notes: what a reader should know, such as why there is no verdict.
    """

    by_id: bool
    totals: tuple[Totals, ...]
    classes: tuple[ClassChange, ...]
    class_count: int
    verdict: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


class JobFailedError(Exception):
    """What a worker answers where it cannot: a sentence without a traceback."""


class AnyJob(Protocol):
    """A dataclass of plain values, which a worker of the caller's choice understands."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def dump_job(job: AnyJob) -> bytes:
    """A job as the worker reads it."""
    return json.dumps(asdict(job)).encode()


def load_job(document: bytes) -> Job | IndexJob:
    """A job, of the controller that started us."""
    fields = json.loads(document)
    if "snapshots" not in fields:
        fields["snapshot"] = JobSnapshot(**fields["snapshot"])
        return IndexJob(**fields)
    fields["snapshots"] = tuple(JobSnapshot(**snapshot) for snapshot in fields["snapshots"])
    return Job(**fields)


def dump_progress(doing: str, percent: int) -> bytes:
    """A line of progress as the controller reads it."""
    return json.dumps([doing, percent]).encode() + b"\n"


def load_progress(line: bytes) -> AnalysisProgress | None:
    """A line of progress; None for any other."""
    if not line.startswith(b"[") or not line.endswith(b"\n"):
        return None
    with contextlib.suppress(ValueError, TypeError):
        doing, percent = json.loads(line)
        return AnalysisProgress(str(doing), max(0, min(100, int(percent))))
    return None


def dump_answer(comparison: Comparison | None, failure: str = "") -> bytes:
    """An answer as the controller reads it."""
    found = asdict(comparison) if comparison is not None else None
    return json.dumps({"comparison": found, "failure": failure}).encode()


def load_answer(document: bytes) -> Comparison:
    """The answer to a `Job`.

    Raises:
        JobFailedError: the worker says that it cannot.
        ValueError: it is no answer.
    """
    try:
        return _comparison(_answer(document)["comparison"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no comparison: {error}") from error


def check_answer(document: bytes) -> None:
    """The answer to an `IndexJob`, which is that it is done.

    Raises:
        JobFailedError: the worker says that it cannot.
        ValueError: it is no answer.
    """
    _answer(document)


def _answer(document: bytes) -> Mapping[str, Any]:
    answer = json.loads(document)
    if not isinstance(answer, Mapping) or "failure" not in answer:
        raise ValueError("no answer")
    if answer["failure"]:
        raise JobFailedError(str(answer["failure"]))
    return answer


def _comparison(found: Mapping[str, Any]) -> Comparison:
    return Comparison(
        by_id=found["by_id"],
        totals=tuple(Totals(**totals) for totals in found["totals"]),
        classes=tuple(ClassChange(**change) for change in found["classes"]),
        class_count=found["class_count"],
        verdict=found["verdict"],
        notes=tuple(found["notes"]),
    )
