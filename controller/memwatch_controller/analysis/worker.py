"""The worker process: reads one job on stdin, writes one answer on stdout, and ends.

It limits its own memory, steps back behind the services of the machine, and dies with the
controller that started it, however that one ends.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from typing import BinaryIO

from memwatch_controller.analysis import jobs

_PR_SET_PDEATHSIG = 1

#: Politeness of analysis on a machine that has other work.
_NICENESS = 10

#: What Python, numpy and a compiled kernel take before the first node is read.
BASE_BYTES = 512 * 1024 * 1024


def main() -> int:
    """Answers one job; the exit code is 0 whenever there is an answer."""
    die_with_parent()
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    job = jobs.load_job(sys.stdin.buffer.read())
    limit_memory(job.memory_bytes + BASE_BYTES)
    sys.stdout.buffer.write(_answer(job))
    sys.stdout.buffer.flush()
    return 0


def _answer(job: jobs.Job | jobs.IndexJob) -> bytes:
    try:
        from memwatch_controller.analysis.compare import build_index, compare
        from memwatch_heap.errors import HeapError
    except MemoryError:
        return jobs.dump_answer(None, _too_large(job))
    try:
        if isinstance(job, jobs.Job):
            return jobs.dump_answer(compare(job, Percents(sys.stdout.buffer)))
        build_index(job)
        return jobs.dump_answer(None)
    except (HeapError, OSError) as error:
        return jobs.dump_answer(None, str(error))
    except MemoryError:
        return jobs.dump_answer(None, _too_large(job))


class Percents:
    """Writes progress as lines: each whole percent, and nothing in between."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._last = -1

    def __call__(self, doing: str, share: float) -> None:
        """Writes a line if another percent is done."""
        percent = int(100 * share)
        if percent != self._last:
            self._last = percent
            self._output.write(jobs.dump_progress(doing, percent))
            self._output.flush()


def _too_large(job: jobs.Job | jobs.IndexJob) -> str:
    return (
        f"the snapshots need more than the {job.memory_bytes:,} bytes that an analysis may use; "
        "give the controller more memory"
    )


def limit_memory(limit: int) -> None:
    """Private memory only: mapped files cost the machine nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def die_with_parent() -> None:
    """Has the kernel kill us when the controller ends, killed or not (Linux)."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
