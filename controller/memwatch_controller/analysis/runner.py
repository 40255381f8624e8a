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
from memwatch_controller.model import OnAnalysis

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

    async def run(self, job: jobs.Job, on_progress: OnAnalysis | None = None) -> jobs.Comparison:
        """Compares snapshots; a worker that dies is started once more.

        Raises:
            JobFailedError: the worker says why not, took too long, or died twice.
        """
        return await self._run(job, jobs.load_answer, on_progress)

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

    async def _run(
        self,
        job: jobs.AnyJob,
        load: Callable[[bytes], _Answer],
        on_progress: OnAnalysis | None = None,
    ) -> _Answer:
        async with self._free:
            try:
                return await self._attempt(job, load, on_progress)
            except _WorkerDiedError as first:
                _log.warning("analysis_worker_died", error=str(first), again=True)
            try:
                return await self._attempt(job, load, on_progress)
            except _WorkerDiedError as second:
                raise jobs.JobFailedError(
                    f"the worker process died twice: {second}; the machine may be short of memory"
                ) from second

    async def _attempt(
        self,
        job: jobs.AnyJob,
        load: Callable[[bytes], _Answer],
        on_progress: OnAnalysis | None,
    ) -> _Answer:
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
                    _read_answer(process.stdout, on_progress),
                    _read_last(process.stderr),
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


async def _read_answer(
    stream: asyncio.StreamReader | None, on_progress: OnAnalysis | None
) -> bytes:
    """All of a stream but its lines of progress, which are told."""
    assert stream is not None
    kept = b""
    while data := await _line(stream):
        progress = jobs.load_progress(data)
        if progress is None:
            kept += data
        elif on_progress is not None:
            on_progress(progress)
        if len(kept) > MAX_ANSWER_BYTES:
            raise _too_long()
    return kept


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError as error:  # longer than the stream's limit
        raise _too_long() from error


def _too_long() -> _WorkerDiedError:
    return _WorkerDiedError(f"it answered more than {MAX_ANSWER_BYTES} bytes")


async def _read_last(stream: asyncio.StreamReader | None) -> bytes:
    """The end of a stream, which is read to its end."""
    assert stream is not None
    kept = b""
    while data := await stream.read(64 * 1024):
        kept = (kept + data)[-_MAX_STDERR_BYTES:]
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
