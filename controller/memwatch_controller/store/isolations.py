"""The undo ledger of pods that are out of their service, in SQL."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter

from memwatch_controller.isolation import CLEAN, Isolation
from memwatch_controller.model import Millis
from memwatch_controller.store import schema
from memwatch_controller.store.database import Database
from memwatch_controller.store.rows import Row

_ISOLATION = TypeAdapter(Isolation)
_table = schema.isolations


class IsolationTable:
    """Records of isolated pods, each a row; every method is one transaction.

    `now` is the clock of `update_time`, by which what is long over is forgotten.
    """

    def __init__(self, database: Database, now: Callable[[], Millis]) -> None:
        self._database = database
        self._now = now

    async def insert(self, isolation: Isolation) -> Isolation:
        """Writes a new one; where its id is known, returns that one instead."""
        wanted = sa.select(_table).where(_table.c.id == isolation.id)
        async with self._database.writing() as connection:
            known = (await connection.execute(wanted)).mappings().one_or_none()
            if known is not None:
                return _to_isolation(known)
            await connection.execute(sa.insert(_table), [self._row(isolation)])
        return isolation

    async def get(self, id: str) -> Isolation | None:
        """One record; None where there is none."""
        query = sa.select(_table).where(_table.c.id == id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _to_isolation(row)

    async def list_open(self) -> Sequence[Isolation]:
        """Those with something left to be undone; there are as many as captures at most."""
        clean = [state.value for state in CLEAN]
        return await self._list(_table.c.state.not_in(clean))

    async def list_of_session(self, session_id: str) -> Sequence[Isolation]:
        """Those of a session."""
        return await self._list(_table.c.session_id == session_id)

    async def change(
        self, id: str, change: Callable[[Isolation], Isolation | None]
    ) -> Isolation | None:
        """Applies a change in one transaction; the record after it, None where it is gone."""
        wanted = sa.select(_table).where(_table.c.id == id).with_for_update()
        async with self._database.writing() as connection:
            row = (await connection.execute(wanted)).mappings().one_or_none()
            if row is None:
                return None
            before = _to_isolation(row)
            after = change(before)
            if after is None:
                return before
            await connection.execute(
                sa.update(_table).where(_table.c.id == id).values(self._row(after))
            )
        return after

    async def forget(self, before: Millis) -> None:
        """Drops records that were over before a time."""
        clean = _table.c.state.in_([state.value for state in CLEAN])
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(_table).where(clean, _table.c.update_time < before))

    async def _list(self, wanted: sa.ColumnElement[bool]) -> Sequence[Isolation]:
        query = sa.select(_table).where(wanted).order_by(_table.c.id)
        async with self._database.reading() as connection:
            return [_to_isolation(row) for row in (await connection.execute(query)).mappings()]

    def _row(self, isolation: Isolation) -> Row:
        return {
            "id": isolation.id,
            "session_id": isolation.wish.session_id,
            "state": isolation.state.value,
            "update_time": self._now(),
            "body": _ISOLATION.dump_json(isolation).decode(),
        }


def _to_isolation(row: sa.RowMapping) -> Isolation:
    return _ISOLATION.validate_json(row["body"])
