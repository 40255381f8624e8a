"""Analyses on other machines: a controller that does none, and workers over PostgreSQL and S3."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from tests.controller.sessions.running import FINISHED, Controller, State, World, eventually, world
from tests.support import databases, s3
from tests.support.processes import free_port
from tests.support.stack import program_env

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(databases.postgres_missing()), reason=databases.postgres_missing()),
    pytest.mark.skipif(bool(s3.missing()), reason=s3.missing()),
]

#: Sessions that are begun together, before there is any worker.
SESSIONS = 3


class Worker:
    """A worker program, as if on a machine of its own."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.port = free_port()
        self._work = folder / f"{name}-work"
        self._arguments = arguments

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "memwatch_controller", "worker"),
                *("--work-dir", str(self._work), "--http-listen", f"127.0.0.1:{self.port}"),
                *self._arguments,
                env={**os.environ, **program_env(), "POD_NAME": self.name},
                stderr=log,
            )

    async def end(self, how: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        return await self.process.wait()

    def copies(self) -> list[Path]:
        """Copies of snapshots that still lie on its disk."""
        return [path for path in self._work.rglob("*") if path.is_file()]


@contextlib.asynccontextmanager
async def worker(folder: Path, name: str, *arguments: str):
    """A worker that runs for the length of the block."""
    one = Worker(folder, name, *arguments)
    await one.start()
    try:
        yield one
    finally:
        await one.end(signal.SIGKILL)


def analyses(url: str) -> list[tuple[str, str]]:
    """Who has, or had last, each analysis, and how it stands."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT coalesce(executor_id, ''), status FROM dbos.workflow_status "
            "WHERE queue_name = 'analysis'"
        )
        return [(str(who), str(status)) for who, status in found]


def taken_by(url: str, name: str, status: str) -> int:
    """How many analyses in a state are one worker's."""
    return sum(who.startswith(name) and how == status for who, how in analyses(url))


async def asked(port: int, path: str) -> str:
    """What a worker's HTTP server answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def sessions(w: World, count: int) -> list[str]:
    """Sessions over one target each, begun together."""
    return [(await w.create(f"web{number}", 0)).id for number in range(count)]


async def succeeded(w: World, ids: list[str]) -> None:
    """Every session ends with its one report."""
    for id in ids:
        session = await w.until(id, *FINISHED)
        assert session.state == State.SESSION_STATE_SUCCEEDED, session.error
        assert len(session.report_ids) == 1


async def test_two_workers_share_the_analyses_and_one_is_killed(tmp_path, monkeypatch):
    """Both work; killed with -9 in the middle, one leaves its analysis to the other; all end."""
    with databases.postgres() as url, s3.s3_server() as store:
        for name, value in store.env.items():
            monkeypatch.setenv(name, value)
        # Tiny heaps: what is shown is who does the work; compiled kernels take a second to load.
        monkeypatch.setenv("MEMWATCH_HEAP_PLAIN", "1")
        shared = ("--database-url", url, "--blob-url", store.url)
        async with world(tmp_path, *shared, "--analysis-workers", "0") as w:
            for number in range(SESSIONS):
                await w.agent(f"web{number}")
            ids = await sessions(w, SESSIONS)
            for id in ids:
                await w.until(id, State.SESSION_STATE_ANALYSING)
            await asyncio.sleep(1)
            assert [how for _, how in analyses(url)] == ["ENQUEUED"] * SESSIONS

            async with (
                worker(tmp_path, "one", *shared) as one,
                worker(tmp_path, "two", *shared) as two,
            ):

                async def both_did_some() -> bool:
                    return all(taken_by(url, name, "SUCCESS") for name in ("one", "two"))

                await eventually(both_did_some, 90)
                more = await sessions(w, 2)

                async def one_is_at_it() -> bool:
                    return taken_by(url, "one", "PENDING") == 1

                await eventually(one_is_at_it, 60)
                await one.end(signal.SIGKILL)
                await succeeded(w, ids + more)

                assert {status for _, status in analyses(url)} == {"SUCCESS"}
                # What the other was at while it lived was left to it.
                assert two.log.read_text().count("work taken over") == 1
                assert sorted(reported(url)) == sorted(ids + more)
                assert "200 OK" in await asked(two.port, "/readyz")
                assert 'memwatch_analyses_total{outcome="reported"}' in await asked(
                    two.port, "/metrics"
                )
                assert await two.end(signal.SIGTERM) == 0
                assert two.copies() == []
            await refused_beside(tmp_path, w, shared)


def reported(url: str) -> list[str]:
    """The sessions of all reports."""
    with psycopg.connect(url) as connection:
        return [str(id) for (id,) in connection.execute("SELECT session_id FROM reports")]


async def refused_beside(folder: Path, w: World, shared: tuple[str, ...]) -> None:
    """A second controller of the database says who is there and ends; the first goes on."""
    (folder / "second").mkdir()
    second = Controller(folder / "second", *shared, "--wait-seconds", "0")
    with pytest.raises(AssertionError, match=r"controller 'memwatch .*' works on it"):
        await second.start()
    assert await second.end() == 2
    waiting = await w.create("web0", 0)
    await w.until(waiting.id, State.SESSION_STATE_ANALYSING)
