import asyncio
import contextlib

import psycopg
import pytest

from memwatch_controller.errors import StartError
from memwatch_controller.store import presence as module
from memwatch_controller.store.presence import NameLostError, open_presence


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/metadata.sqlite"
    return request.getfixturevalue("postgres_url")


async def test_a_name_has_one_owner_and_ends_with_it(url):
    """The second is told who has it, and gets it as soon as the first is gone."""
    async with open_presence(url, "two") as two:
        async with open_presence(url, "one") as one:
            assert await one.take("controller", 0) == ""
            holder = await two.take("controller", 0)
            assert "memwatch one" in holder or holder.startswith("process ")
            waiting = asyncio.create_task(two.take("controller", 20))
        assert await waiting == ""


async def test_the_dead_are_told_from_the_living(postgres_url):
    """A name that somebody holds is alive; one that nobody holds is dead, for the block."""
    async with open_presence(postgres_url, "one") as one, open_presence(postgres_url, "two") as two:
        await one.take("a", 0)
        async with two.burying("a") as is_dead:
            assert not is_dead
        async with two.burying("b") as is_dead, one.burying("b") as is_dead_too:
            assert (is_dead, is_dead_too) == (True, False)
        async with one.burying("b") as is_dead, one.burying("a") as is_mine:
            assert (is_dead, is_mine) == (True, False)


def cut(url: str, who: str) -> None:
    """Ends a program's connection at the server."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            (f"memwatch {who}",),
        )


async def test_a_cut_connection_comes_back_with_its_names(postgres_url, monkeypatch):
    """Its names are taken again; where another was faster, the program must end."""
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.1)
    monkeypatch.setattr(module, "_BACK_SECONDS", 0.5)
    async with open_presence(postgres_url, "one") as one, open_presence(postgres_url, "two") as two:
        await one.take("x", 0)
        keeping = asyncio.create_task(one.run())
        cut(postgres_url, "one")
        await asyncio.sleep(1)
        assert await two.take("x", 0) == "'memwatch one'"
        cut(postgres_url, "one")
        assert await two.take("x", 0) == ""
        with pytest.raises(NameLostError, match="memwatch two"):
            await asyncio.wait_for(keeping, 20)
        with contextlib.suppress(NameLostError):
            await keeping


async def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """A data directory that is not there is one sentence, and not a traceback."""
    async with open_presence(f"sqlite:///{tmp_path}/nosuch/m.sqlite", "one") as one:
        with pytest.raises(StartError, match="check --data-dir"):
            await one.take("controller", 0)
