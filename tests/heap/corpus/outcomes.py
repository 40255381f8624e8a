"""Runs the whole leak corpus and explains it, in two processes; for the test and the bench."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from memwatch_heap.comparison import compare_snapshots
from memwatch_heap.report import Suspect, Verdict
from memwatch_heap.verdict import explain
from tests.heap.corpus import programs
from tests.heap.corpus.programs import ROOT, Program, Truth
from tests.hook import walkers
from tests.support import runtimes

NODE_MAJORS = (24, 22, 20)  # the first that is installed
PYTHON_MINORS = ("3.11", "3.12", "3.13")
WITH_PLACES = ("node",)  # whose snapshots say where objects come from
WORKERS = 2
_SNAPSHOTS = 3


@dataclass(frozen=True)
class Outcome:
    """What was found of one program: from its three snapshots, and from the first two."""

    program: Program
    verdict: Verdict
    of_two: Verdict


@dataclass(frozen=True)
class Which:
    """What programs run on, and how their objects are told.

    Attributes:
        minors: CPythons. majors: Nodes; the first that is installed. Of no majors any Node will do.
        by_place: objects are told by the ways to them, as where ids do not compare.
    """

    minors: Sequence[str] = PYTHON_MINORS
    majors: Sequence[int] = ()
    by_place: bool = False


USUAL = Which()


def command(runtime: str, which: Which = USUAL) -> list[str] | None:
    """How programs of a runtime are started; None where it is not installed."""
    if runtime == "node":
        majors = which.majors or NODE_MAJORS
        node = next((node for node in map(runtimes.node, majors) if node), None)
        node = node or (None if which.majors else runtimes.any_node())
        return None if node is None else [str(node), "--expose-gc"]
    python = next((python for python in map(runtimes.python, which.minors) if python), None)
    return None if python is None else [str(python)]


def outcomes(runtime: str, which: Which = USUAL) -> Iterable[Outcome]:
    """The outcome of every program of a runtime."""
    with ProcessPoolExecutor(WORKERS) as pool:
        for future in started(runtime, pool, which).values():
            yield future.result()


def started(
    runtime: str, pool: ProcessPoolExecutor, which: Which = USUAL
) -> dict[str, "Future[Outcome]"]:
    """The outcomes of a runtime's programs by name, as they are made."""
    argv = command(runtime, which)
    cases = programs.programs(runtime) if argv else []
    return {case.name: pool.submit(outcome, case, argv or [], which.by_place) for case in cases}


def outcome(program: Program, argv: list[str], by_place: bool = False) -> Outcome:
    """Runs one program and explains its snapshots."""
    with tempfile.TemporaryDirectory(prefix="memwatch-corpus-") as folder:
        env = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(hook_folder()),
            "PYTHONHASHSEED": "0",
            "MEMWATCH_HOOK_DIR": folder,
        }
        paths = programs.take_snapshots(program, argv, env, Path(folder), _SNAPSHOTS)
        tell = _by_place if by_place else explain
        return Outcome(program, tell(paths), tell(paths[:2]))


def _by_place(paths: Sequence[Path]) -> Verdict:
    """The verdict as it is where the runtime numbers objects anew for each snapshot."""
    found = compare_snapshots(paths, keeps_ids=lambda _: False).verdict
    assert found is not None
    return found


def hook_folder() -> Path:
    """The hook with its C walker, as services have it; without one where it cannot be built."""
    try:
        return walkers.with_c_walker()
    except LookupError:
        return ROOT / "hook"


def fits(program: Program, truth: Truth, suspect: Suspect, snapshots: int) -> list[str]:
    """In what a suspect differs from the truth; empty where it is right."""
    # The C walker sees more of CPython than its twin: it knows where a thread-local is from.
    # Versions of a runtime may call a part of their own differently.
    names = truth.holder.split(" or ")
    named = any(suspect.name == name or suspect.name.endswith(f".{name}") for name in names)
    wanted = {
        "name": (truth.holder, truth.holder if named else suspect.name),
        "kind": (truth.kind, suspect.kind),
        "class": (truth.class_name, suspect.object_class.rpartition(".")[2]),
        "count": (truth.per_unit * programs.UNITS * (snapshots - 1), suspect.new_count),
    }
    if truth.at is not None and program.runtime in WITH_PLACES:
        where = suspect.where
        place = where and (Path(where.script).name, where.line)
        wanted["place"] = ((program.path.name, program.line_of(truth.at)), place)
    return [f"{key}: {b!r}, not {a!r}" for key, (a, b) in wanted.items() if a != b]
