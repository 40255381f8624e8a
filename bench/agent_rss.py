"""The agent's memory: idle, while 1 GiB passes by hook and stream, and after cancelled calls.

A stand-in for a hook streams --megabytes of random bytes (which zstd cannot make smaller) as one
snapshot; the agent compresses, digests and spools them and then streams them out. Then --calls
calls each of Stream, Watch and Capture are cut off by their caller. Goals: idle ≤ 60 MiB, ≤ 64 MiB
while the bytes pass, and nothing left of the calls that were cut off.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench._agent import MIB, agent, rss, target
from memwatch_proto.chunks import checked_data, new_digest
from memwatch_proto.v1 import agents_pb2
from tests.support.processes import running
from tests.support.stack import program_env

IDLE_GOAL, BUSY_GOAL = 60, 64

#: Long enough for the first looks at /proc and a few background rounds.
SETTLE_SECONDS = 5.0


class Peak:
    """The highest RSS of a process over a block."""

    def __init__(self) -> None:
        self.bytes = 0
        self.seconds = 0.0


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Peak]:
    peak, done, began = Peak(), threading.Event(), time.monotonic()

    def look() -> None:
        while not done.wait(0.02):
            peak.bytes = max(peak.bytes, rss(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.seconds = time.monotonic() - began


def capture(stub: Any, target_id: str, request_id: str) -> Any:
    request = agents_pb2.CaptureRequest(request_id=request_id, target_id=target_id, force=True)
    return list(stub.Capture(request))[-1].snapshot


def stream(stub: Any, snapshot: Any) -> None:
    """Reads a snapshot and checks its digest."""
    digest, offset = new_digest(), 0
    for chunk in stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id)):
        data = checked_data(chunk, offset)
        digest.update(data)
        offset += len(data)
    if digest.hexdigest() != chunk.sha256:
        raise SystemExit("the digest is wrong")


def cut_off(stub: Any, snapshot: Any, target_id: str, calls: int) -> None:
    """Begins calls and leaves them."""
    for number in range(calls):
        request_id = f"cut-{number // 50}"  # joins, and now and then a new capture
        begun = [
            stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id)),
            stub.Watch(agents_pb2.WatchRequest(target_id=target_id)),
            stub.Capture(agents_pb2.CaptureRequest(request_id=request_id, target_id=target_id)),
        ]
        for call in begun[:2]:
            next(call)
        for call in begun:
            call.cancel()


def figures(pid: int) -> str:
    folder = Path(f"/proc/{pid}")
    return f"{rss(pid) / MIB:.1f} MiB, {len(os.listdir(folder / 'fd'))} fds, " + (
        f"{len(os.listdir(folder / 'task'))} threads"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hook = [sys.executable, "-m", "bench._agent", name, str(options.megabytes * MIB)]
        with (
            running(hook, env=program_env()) as process,
            agent(folder, "--spool-quota", "8GiB") as (one, stub),
        ):
            found = target(stub, process.pid)
            time.sleep(SETTLE_SECONDS)
            report("idle", rss(one.pid), 0, IDLE_GOAL)
            with watched(one.pid) as peak:
                snapshot = capture(stub, found.id, "big")
            report(f"capturing {options.megabytes} MiB", peak.bytes, peak.seconds, BUSY_GOAL)
            with watched(one.pid) as peak:
                stream(stub, snapshot)
            report(f"streaming {options.megabytes} MiB", peak.bytes, peak.seconds, BUSY_GOAL)
            soak(stub, one.pid, process.pid, snapshot, options.calls)
    return 0


def soak(stub: Any, agent_pid: int, pid: int, snapshot: Any, calls: int) -> None:
    found = target(stub, pid)
    for round_ in range(3):
        print(f"{'after ' + str(round_ * calls) + ' cut-off calls of each kind':40} ", end="")
        print(figures(agent_pid), flush=True)
        cut_off(stub, snapshot, found.id, calls)
        time.sleep(12)  # orphaned captures end after 10 s
    print(f"{'after ' + str(3 * calls) + ' cut-off calls of each kind':40} {figures(agent_pid)}")


def report(what: str, peak: int, seconds: float, goal: int) -> None:
    mib = peak / MIB
    took = f" in {seconds:.1f} s" if seconds else ""
    print(f"{what:40} {mib:.1f} MiB{took} (goal {goal}: {'met' if mib <= goal else 'MISSED'})")


if __name__ == "__main__":
    raise SystemExit(main())
