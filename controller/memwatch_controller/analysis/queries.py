"""Asks the process that answers questions about heaps; starts it when it is first needed."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

#: An answer is at most a page of 1,000 objects.
MAX_ANSWER_BYTES = 16 * 1024 * 1024

#: Questions are answered in milliseconds; a disk that must be read first takes seconds.
ANSWER_SECONDS = 30.0

_WORKER = (sys.executable, "-m", "memwatch_controller.analysis.query_worker")


class QueryFailedError(Exception):
    """A question without an answer; `kind` is "object", "index" or "other"."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Queries:
    """Asks one question at a time; belongs to one loop."""

    def __init__(self, command: Sequence[str] = _WORKER) -> None:
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._one = asyncio.Lock()

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer; a process that died is started once more.

        Raises:
            QueryFailedError: there is none, and why.
        """
        async with self._one:
            for last in (False, True):
                try:
                    return _checked(await self._ask(question))
                except (EOFError, ConnectionError, ValueError) as error:
                    await self._end()
                    if last:
                        why = "the process that answers questions about heaps died twice"
                        raise QueryFailedError(why, "other") from error
                except TimeoutError as error:
                    await self._end()
                    why = f"there was no answer in {ANSWER_SECONDS:.0f} s"
                    raise QueryFailedError(why, "other") from error
                except asyncio.CancelledError:
                    await self._end()  # its answer must not be taken for the next one
                    raise
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Ends the process."""
        async with self._one:
            await self._end()

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            await process.stdin.drain()
            line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_ANSWER_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "failure" in answer:
        raise QueryFailedError(answer["failure"], answer["kind"])
    return answer
