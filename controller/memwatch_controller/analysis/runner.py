"""Runs analysis jobs in worker processes: a bounded number, each with memory and time to use."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from memwatch_controller.analysis import jobs
from memwatch_controller.analysis.guard import default_memory
from memwatch_controller.analysis.room import Room

#: An answer of 500 classes with the longest names is far below this.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

#: How much of a dying worker's words is logged.
_MAX_STDERR_BYTES = 4_000

_WORKER = (sys.executable, "-m", "memwatch_controller.analysis.worker")

_Answer = TypeVar("_Answer")

_log = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """What analysis may use of the machine.

    Attributes:
        workers: how many jobs run at once.
        memory_bytes: memory of one job, beside what the interpreter itself takes.
        seconds: time of one job.
    """

    workers: int = 1
    memory_bytes: int = field(default_factory=default_memory)
    seconds: float = 1800.0


class _WorkerDiedError(Exception):
    """A worker ended without an answer."""


class Runner:
    """Runs jobs; belongs to one loop. Cancelling `run` kills its worker.

    Attributes:
        limits: what jobs may use.
        room: the memory of the machine; who runs a job holds its part of it.
    """

    def __init__(self, limits: Limits, command: Sequence[str] = _WORKER) -> None:
        self.limits = limits
        self.room = Room()
        self._command = tuple(command)
        self._free = asyncio.Semaphore(limits.workers)

    async def run(self, job: jobs.Job) -> jobs.Comparison:
        """Compares snapshots; a worker that dies is started once more.

        Raises:
            JobFailedError: the worker says why not, took too long, or died twice.
        """
        return await self._run(job, jobs.load_answer)

    async def perform(self, job: jobs.AnyJob) -> None:
        """Has any job done whose answer is that it is done.

        Raises:
            JobFailedError: the worker says why not, took too long, or died twice.
        """
        await self._run(job, jobs.check_answer)

    async def build_index(self, job: jobs.IndexJob) -> None:
        """Writes the index of a snapshot; a worker that dies is started once more.

        Raises:
            JobFailedError: the worker says why not, took too long, or died twice.
        """
        await self._run(job, jobs.check_answer)

    async def _run(self, job: jobs.AnyJob, load: Callable[[bytes], _Answer]) -> _Answer:
        async with self._free:
            try:
                return await self._attempt(job, load)
            except _WorkerDiedError as first:
                _log.warning("analysis_worker_died", error=str(first), again=True)
            try:
                return await self._attempt(job, load)
            except _WorkerDiedError as second:
                raise jobs.JobFailedError(
                    f"the worker process died twice: {second}; the machine may be short of memory"
                ) from second

    async def _attempt(self, job: jobs.AnyJob, load: Callable[[bytes], _Answer]) -> _Answer:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_ANSWER_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        try:
            async with asyncio.timeout(self.limits.seconds):
                answer, words, _ = await asyncio.gather(
                    _read(process.stdout, MAX_ANSWER_BYTES),
                    _read(process.stderr, None),
                    _write(process.stdin, jobs.dump_job(job)),
                )
                code = await process.wait()
        except TimeoutError as error:
            raise jobs.JobFailedError(
                f"the analysis was not done after {self.limits.seconds:.0f} s"
            ) from error
        finally:
            await _end(process)
        return _result(code, answer, words, load)


def _result(code: int, answer: bytes, words: bytes, load: Callable[[bytes], _Answer]) -> _Answer:
    if code == 0:
        with contextlib.suppress(ValueError):
            return load(answer)
    last = words.decode(errors="replace").strip().splitlines()[-1:] or [""]
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    raise _WorkerDiedError(f"{how} {last[0][:300]}".strip())


async def _read(stream: asyncio.StreamReader | None, most: int | None) -> bytes:
    """All of a stream; of one without a limit only the end is kept."""
    assert stream is not None
    kept = b""
    while data := await stream.read(64 * 1024):
        kept += data
        if most is None:
            kept = kept[-_MAX_STDERR_BYTES:]
        elif len(kept) > most:
            raise _WorkerDiedError(f"it answered more than {most} bytes")
    return kept


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    with contextlib.suppress(ConnectionError):  # it died; its exit code says more
        stream.write(data)
        await stream.drain()
    stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills a worker that is still there, and reaps it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
