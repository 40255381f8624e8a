"""What an agent's preflight predicts of a Node capture, beside what the capture then cost.

Each server is captured by a real agent several times in each manner: when nothing is known of it,
when the other manner has taught something, when its own past is known, and after its heap has
grown. Told are pause, duration and extra memory, predicted / measured, and their ratio. Goal:
within 30 % once a process has a past. Durations and pauses are wall time: on a machine whose load
changes between two captures they differ by that much, so the processor time of the capture before
stands beside that of this one.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import _agent
from memwatch_proto.v1 import agents_pb2, common_pb2
from tests.support import fork_addon, runtimes

ROOT = Path(__file__).resolve().parents[1]
MB = 1e6
GOAL = 1.3
GROWTH = 1.3

#: Heaps of two shapes: V8 pays by the node, and tiny objects have many.
SHAPES = {
    "rows": "{ id, name: 'row ' + id, tags: ['a' + id, { id }], made: new Date(id) }",
    "tiny": "{ id, half: id + 0.5, next: { id } }",
    "texts": "{ id, text: Buffer.alloc(400, 97).toString('latin1') + id }",
}
SERVER = """
const kept = globalThis.kept = [];
let id = 0;
function fill(megabytes) {
  while (process.memoryUsage().heapUsed < megabytes * 1e6)
    for (let i = 0; i < 2000; i++, id++) kept.push(SHAPE);
  console.log(`up ${kept.length}`);
}
setInterval(() => {}, 1000);
require('readline').createInterface({ input: process.stdin }).on('line', (line) => fill(+line));
fill(+process.argv[2]);
"""

MANNERS = {
    "forked": (common_pb2.PAUSE_MODE_NEVER, common_pb2.CAPTURE_MANNER_FORKED),
    "blocking": (common_pb2.PAUSE_MODE_BLOCKING, common_pb2.CAPTURE_MANNER_BLOCKING),
}
WAYS = {
    "hook": common_pb2.CAPTURE_WAY_HOOK,
    "attach": common_pb2.CAPTURE_WAY_ATTACH,
}

#: (manner, what is known) in order; a word that begins with + makes the heap grow first.
STEPS = (
    ("forked", "nothing"),
    ("forked", "its own past"),
    ("blocking", "the child's past"),
    ("blocking", "its own past"),
    ("+forked", "its own past, grown"),
    ("blocking", "its own past, grown"),
)


@dataclass(frozen=True)
class Pair:
    """One figure as it was predicted and as it turned out."""

    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """Predicted by measured."""
        return self.predicted / max(self.measured, 1e-9)

    def holds(self, least: float) -> bool:
        """Whether it is within the goal, or too small for that to mean anything."""
        small = max(self.predicted, self.measured) < least
        return small or 1 / GOAL <= self.ratio <= GOAL

    def text(self, digits: int = 0) -> str:
        """Both and their ratio."""
        return f"{self.predicted:.{digits}f} / {self.measured:.{digits}f} ({self.ratio:.2f})"


@dataclass(frozen=True)
class Row:
    """One capture."""

    pause: Pair
    seconds: Pair
    memory: Pair
    raw: Pair
    cpu_seconds: float

    def work(self, last: float) -> str:
        """The processor time that the last such capture teaches, and what it took."""
        return Pair(last, self.cpu_seconds).text(1) if last else f"{self.cpu_seconds:.1f}"

    @property
    def wrong(self) -> str:
        """Which figures are more than 30 % off; those of a few milliseconds do not count."""
        held = {
            "pause": self.pause.holds(15),
            "duration": self.seconds.holds(1),
            "memory": self.memory.holds(20),
        }
        return ", ".join(name for name, well in held.items() if not well)

    def text(self, last: float) -> str:
        """The last columns of the table."""
        return (
            f"{self.pause.text()} | {self.seconds.text(1)} | {self.work(last)} "
            f"| {self.memory.text()} | {self.raw.text()} | {self.wrong or '–'} |"
        )


HEAD = (
    "| Node | heap | way | manner | known | pause ms | duration s | its CPU s | memory MB "
    "| snapshot MB | off by more |\n" + "|---" * 11 + "|"
)


def taken(stub: Any, target_id: str, way: str, manner: str, number: int) -> Row:
    """One capture by the agent, and what its preflight said."""
    mode, which = MANNERS[manner]
    request = agents_pb2.CaptureRequest(
        request_id=f"forecast-{number}",
        target_id=target_id,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=WAYS[way],
        pause=mode,
        force=True,
    )
    foretold: Any = None
    for event in stub.Capture(request, timeout=1800):
        if event.HasField("progress") and event.progress.HasField("preflight"):
            foretold = event.progress.preflight
    snapshot = event.snapshot
    stub.Discard(agents_pb2.DiscardRequest(snapshot_id=snapshot.id))
    one = next(told for told in foretold.forecasts if told.manner == which)
    cost = snapshot.cost
    return Row(
        Pair(one.pause_millis, cost.pause_millis),
        Pair(one.duration_millis / 1000, cost.duration_millis / 1000),
        Pair(one.extra_memory_bytes / MB, cost.extra_memory_bytes / MB),
        Pair(foretold.raw_size_bytes / MB, snapshot.raw_size_bytes / MB),
        cost.cpu_millis / 1000,
    )


@contextlib.contextmanager
def serving(
    node: Path, megabytes: int, shape: str, folder: Path, *, hooked: bool
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds a heap, and makes it grow when it reads a size."""
    script = folder / "server.cjs"
    script.write_text(SERVER.replace("SHAPE", SHAPES[shape]))
    hook = {"NODE_OPTIONS": f"--require {ROOT / 'hook/node/memwatch-hook.cjs'}"} if hooked else {}
    process = subprocess.Popen(
        [node, "--inspect-port=0", "--max-old-space-size=8000", script, str(megabytes)],
        env={**os.environ, "MEMWATCH_HOOK_DIR": str(folder), **hook},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def rows(node: Path, megabytes: int, shape: str, way: str) -> Iterator[tuple[str, str, Row, float]]:
    """(manner, what was known, row, CPU seconds it teaches) of each step of one process."""
    worked: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            serving(node, megabytes, shape, folder, hooked=way == "hook") as process,
            _agent.agent(folder, "--pid", str(process.pid)) as (_, stub),
        ):
            target_id = _agent.target(stub, process.pid).id
            for number, (manner, known) in enumerate(STEPS):
                if manner.startswith("+"):
                    assert process.stdin
                    assert process.stdout
                    process.stdin.write(b"%d\n" % (megabytes * GROWTH))
                    process.stdin.flush()
                    process.stdout.readline()
                manner = manner.lstrip("+")
                row = taken(stub, target_id, way, manner, number)
                last = worked.get(manner) or next(iter(worked.values()), 0.0)
                yield manner, known, row, last * (GROWTH if "grown" in known else 1)
                worked[manner] = row.cpu_seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench node_forecasts", description=__doc__)
    parser.add_argument("--majors", default="20,22,24")
    parser.add_argument("--megabytes", default="50,250,600")
    parser.add_argument("--shapes", default="rows", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--ways", default="hook", help="of hook, attach")
    chosen = parser.parse_args()
    if isinstance(addon := fork_addon.built(), str):
        print(addon, file=sys.stderr)
        return 2
    print(HEAD, flush=True)
    wrong = 0
    for major in map(int, chosen.majors.split(",")):
        node = runtimes.node(major)
        for megabytes in map(int, chosen.megabytes.split(",")) if node else ():
            for shape in chosen.shapes.split(","):
                for way in chosen.ways.split(","):
                    assert node is not None
                    for manner, known, row, last in rows(node, megabytes, shape, way):
                        wrong += known != "nothing" and bool(row.wrong)
                        place = f"{major} | {megabytes} MB of {shape} | {way} | {manner} | {known}"
                        print(f"| {place} | {row.text(last)}", flush=True)
    print(f"\n{wrong} captures with a past were predicted wrong by more than 30 % in some figure;")
    print(f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
