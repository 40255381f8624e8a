"""The heap engine as the offline commands use it: imported here, and nowhere else."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from memwatchctl.errors import CliError, FileError
from memwatchctl.progress import Display, Step, transfer_step

if TYPE_CHECKING:
    from memwatch_heap.diff import DiffRow
    from memwatch_heap.graph import HeapGraph
    from memwatch_heap.index import HeapIndex
    from memwatch_heap.measures import Measures
    from memwatch_heap.report import Verdict

_MILLIS = re.compile(r"_(\d{12,14})_", re.ASCII)

#: Added to a snapshot's name for its index file.
INDEX_SUFFIX = ".mwindex"


class AnalysisError(CliError):
    """A heap that cannot be analysed; the sentence is the engine's."""


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """Turns the engine's errors, and its absence, into ours.

    Raises:
        AnalysisError: the engine failed, is not installed, or ran out of memory.
        FileError: a file cannot be read or written.
    """
    try:
        from memwatch_heap.errors import HeapError
    except ImportError as error:
        raise AnalysisError(
            f"cannot analyse heaps here: '{error.name}' is not installed; "
            "install memwatch with its extra: pip install 'memwatch[analysis]'"
        ) from error
    try:
        yield
    except HeapError as error:
        raise AnalysisError(str(error)) from error
    except MemoryError as error:
        raise AnalysisError(
            "cannot analyse heap: not enough memory; let a controller do it on a larger machine"
        ) from error
    except OSError as error:
        raise FileError("use", error.filename or "file", error) from error


def read(path: Path, display: Display) -> "HeapGraph":
    """The graph of a snapshot."""
    with engine():
        from memwatch_heap import formats

        return formats.read(
            path,
            progress=lambda done, total: display.show(
                transfer_step("reading", done, total or done)
            ),
        )


def measured(path: Path, display: Display) -> tuple["HeapGraph", "Measures"]:
    """The graph of a snapshot with all its measures."""
    graph = read(path, display)
    display.show(Step("", "computing retained sizes"))
    with engine():
        from memwatch_heap.measures import measure

        return graph, measure(graph)


@dataclass(frozen=True)
class Compared:
    """What a comparison of files found.

    Attributes:
        rows: classes of the first and the last, the greatest growth first.
        by_id: whether objects keep their ids from file to file.
        verdict: None where the files are of different programs.
        problem: then, what was found instead.
    """

    rows: Sequence["DiffRow"]
    by_id: bool
    verdict: "Verdict | None"
    problem: str = ""


def compare(paths: Sequence[Path], display: Display) -> Compared:
    """The classes and the verdict over snapshots, oldest first; one graph is held at a time."""
    with engine():
        from memwatch_heap.comparison import compare_snapshots
        from memwatch_heap.identification import StrangersError

        problems: list[str] = []

        def note(problem: Exception) -> None:
            if not isinstance(problem, StrangersError):
                raise problem
            problems.append(str(problem))

        found = compare_snapshots(
            list(paths),
            times_of(paths),
            keeps_ids=keeps_ids,
            on_failure=note,
            tell=lambda doing, share: display.show(Step("", doing, share, 1.0)),
        )
        return Compared(found.rows, found.by_id, found.verdict, "".join(problems))


def keeps_ids(rows: Iterable["DiffRow"]) -> bool:
    """Whether the runtime kept its objects' ids between two snapshots. Pure.

    V8 numbers all objects anew when an inspector session ends, so that two attached snapshots
    have hardly an id in common. Most classes keep an object or more where ids are kept, even
    in a program that exchanges all of its data (measured: 85 %, against 13 % by chance).
    """
    named = [r for r in rows if r.count_before and not r.name.startswith(("(", "system"))]
    keeping = sum(row.count_before > row.gone_count for row in named)
    return 2 * keeping >= len(named)


def times_of(paths: Sequence[Path]) -> list[float] | None:
    """When snapshots were taken, in seconds, as their names say; None where one does not. Pure."""
    found = [_MILLIS.search(path.name) for path in paths]
    times = [int(match[1]) / 1000 for match in found if match]
    rising = all(early < late for early, late in pairwise(times))
    return times if len(times) == len(paths) and rising else None


def index(path: Path, display: Display) -> "HeapIndex":
    """The index of a snapshot: that beside it, made now where there is none of this file.

    Where its folder cannot be written the index is made in memory's stead each time: in the
    temporary folder, and removed once it is mapped.
    """
    with engine():
        from memwatch_heap.errors import IndexFileError
        from memwatch_heap.index import HeapIndex

        file = path.with_name(path.name + INDEX_SUFFIX)
        key = _key(path)
        with contextlib.suppress(IndexFileError, FileNotFoundError):
            return HeapIndex.open(file, snapshot=key)
        return _made(path, file, key, display)


def _made(path: Path, file: Path, key: str, display: Display) -> "HeapIndex":
    import tempfile

    from memwatch_heap.index import HeapIndex, write_index

    graph, measures = measured(path, display)
    display.show(Step("", "writing the index"))
    if os.access(path.parent, os.W_OK):
        write_index(file, graph, measures, snapshot=key)
        return HeapIndex.open(file, snapshot=key)
    with tempfile.TemporaryDirectory(prefix="memwatch-") as folder:
        write_index(Path(folder) / "index", graph, measures, snapshot=key)
        return HeapIndex.open(Path(folder) / "index", snapshot=key)


def _key(path: Path) -> str:
    """What tells this file from another of its name: reading all of it would cost seconds."""
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
