"""The leak corpus of tests/apps/corpus: what each program's header says, and how to drive one."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memwatch_hook import convert, dump

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "tests" / "apps" / "corpus"

WARM_UNITS = 100  # work before the first snapshot, so that full caches are full
UNITS = 120  # work between two snapshots; no divisor of a corpus program's own limits
SUFFIXES = {"node": (".js", ".mjs"), "python": (".py",)}


@dataclass(frozen=True)
class Truth:
    """One suspect that a leaking program must show."""

    holder: str
    kind: str
    class_name: str
    per_unit: int
    at: str | None

    @classmethod
    def parse(cls, entry: Mapping[str, object]) -> "Truth":
        """One suspect of a header; `at` is a piece of the source line it must point at."""
        at = entry.get("at")
        return cls(
            holder=str(entry["holder"]),
            kind=str(entry["kind"]),
            class_name=str(entry["class"]),
            per_unit=int(str(entry["per_unit"])),
            at=None if at is None else str(at),
        )


@dataclass(frozen=True)
class Program:
    """A corpus program and the truth of its header."""

    path: Path
    runtime: str
    about: str
    verdict: str
    verdict_of_two: str
    warm_units: int
    suspects: tuple[Truth, ...]

    @property
    def name(self) -> str:
        """Such as `node/listener`."""
        return f"{self.runtime}/{self.path.stem}"

    def line_of(self, piece: str) -> int:
        """The number of the first source line that has `piece`, from 1."""
        lines = self.path.read_text().splitlines()
        return next(
            number for number, line in enumerate(lines, 1) if piece in line and "truth:" not in line
        )


def read_program(path: Path, runtime: str) -> Program:
    """A program and its truth; raises ValueError when its header has none."""
    about, truth = path.read_text().splitlines()[:2]
    _, found, text = truth.partition("truth: ")
    if not found:
        raise ValueError(f"cannot read the truth of {path.name!r}: its second line has none")
    facts = json.loads(text)
    leaking = facts["verdict"] == "leaking"
    entries = facts.get("suspects", [facts] if leaking else [])
    return Program(
        path=path,
        runtime=runtime,
        about=about.strip('/"# '),
        verdict=facts["verdict"],
        verdict_of_two=facts.get("two", facts["verdict"]),
        warm_units=facts.get("warm", WARM_UNITS),
        suspects=tuple(Truth.parse(entry) for entry in entries),
    )


def programs(runtime: str) -> list[Program]:
    """Every program of a runtime (`node`, `python`), by name."""
    files = sorted(f for f in (FOLDER / runtime).iterdir() if f.suffix in SUFFIXES[runtime])
    return [read_program(path, runtime) for path in files if path.stem != "harness"]


@dataclass(frozen=True)
class Driver:
    """Talks to one running program."""

    process: subprocess.Popen[str]

    def work(self, units: int) -> None:
        """Lets the program do `units` of its work."""
        self._ask(f"work {units}")

    def snapshot(self, path: Path) -> None:
        """Has the program write its heap to `path`; a dump of a Python heap is converted."""
        self._ask(f"snapshot {path}")
        with path.open("rb") as written:
            if written.read(len(dump.MAGIC)) == dump.MAGIC:
                made = path.with_suffix(".made")
                with made.open("wb") as out:
                    convert.convert(written.fileno(), out.fileno())
                made.rename(path)

    def _ask(self, line: str) -> None:
        stdin, stdout = _pipes(self.process)
        stdin.write(line + "\n")
        stdin.flush()
        answer = stdout.readline()
        if answer != "ok\n":
            rest = answer + stdout.read()
            raise AssertionError(f"cannot {line!r}: {rest[-2000:]}")


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def driven(program: Program, command: list[str], env: Mapping[str, str]) -> Iterator[Driver]:
    """The program, running for the length of the block."""
    process = subprocess.Popen(
        [*command, str(program.path)],
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Driver(process)
    finally:
        for pipe in _pipes(process):
            pipe.close()
        process.kill()
        process.wait()


def take_snapshots(
    program: Program, command: list[str], env: Mapping[str, str], folder: Path, count: int = 3
) -> list[Path]:
    """`count` snapshots with UNITS of work between them, the first after the warm-up."""
    paths = [folder / f"{program.path.stem}-{number}.heapsnapshot" for number in range(count)]
    with driven(program, command, env) as driver:
        for number, path in enumerate(paths):
            driver.work(UNITS if number else program.warm_units)
            driver.snapshot(path)
    return paths
