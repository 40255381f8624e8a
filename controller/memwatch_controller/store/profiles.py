"""The metadata of profiles, in SQL; see `Metadata` for how lists go on."""

import builtins
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter

from memwatch_controller import model
from memwatch_controller.profile import Profile, ProfileKind, ProfileState
from memwatch_controller.store import schema
from memwatch_controller.store.database import Database
from memwatch_controller.store.rows import Row

_PROFILE = TypeAdapter(Profile)
_table = schema.profiles


class ProfileTable:
    """Profiles, each a row; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, profile: Profile) -> Profile:
        """Writes a new one; where its request id is known, returns that one instead."""
        wanted = sa.select(_table).where(_table.c.request_id == profile.request_id)
        async with self._database.writing() as connection:
            known = (await connection.execute(wanted)).mappings().one_or_none()
            if known is not None:
                return to_profile(known)
            await connection.execute(sa.insert(_table), [from_profile(profile)])
        return profile

    async def get(self, id: str) -> Profile | None:
        """One profile; None where there is none."""
        return await self._one(_table.c.id == id)

    async def find_by_request(self, request_id: str) -> Profile | None:
        """The one that a request made; None where there is none."""
        return await self._one(_table.c.request_id == request_id)

    async def list(
        self,
        *,
        states: Sequence[ProfileState] = (),
        service: str = "",
        target_id: str = "",
        kind: ProfileKind | None = None,
        created_before: model.Millis = 0,
        limit: int,
        after: tuple[model.Millis, str] | None = None,
    ) -> builtins.list[Profile]:
        """Profiles, the newest first."""
        order = (_table.c.create_time.desc(), _table.c.id.desc())
        query = sa.select(_table).order_by(*order).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(_table.c.create_time, _table.c.id) < after)
        if states:
            query = query.where(_table.c.state.in_([state.value for state in states]))
        if created_before:
            query = query.where(_table.c.create_time < created_before)
        for column, value in (
            (_table.c.service, service),
            (_table.c.target_id, target_id),
            (_table.c.kind, kind.value if kind else ""),
        ):
            if value:
                query = query.where(column == value)
        async with self._database.reading() as connection:
            return [to_profile(row) for row in (await connection.execute(query)).mappings()]

    async def change(self, id: str, change: Callable[[Profile], Profile | None]) -> Profile | None:
        """Applies a change in one transaction; the profile after it, None where it is gone."""
        wanted = sa.select(_table).where(_table.c.id == id).with_for_update()
        async with self._database.writing() as connection:
            row = (await connection.execute(wanted)).mappings().one_or_none()
            if row is None:
                return None
            before = to_profile(row)
            after = change(before)
            if after is None:
                return before
            await connection.execute(
                sa.update(_table).where(_table.c.id == id).values(from_profile(after))
            )
        return after

    async def delete(self, id: str) -> None:
        """Forgets a profile; an unknown id is no error."""
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(_table).where(_table.c.id == id))

    async def _one(self, wanted: sa.ColumnElement[bool]) -> Profile | None:
        query = sa.select(_table).where(wanted)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else to_profile(row)


def from_profile(profile: Profile) -> Row:
    """The row of a profile."""
    return {
        "id": profile.id,
        "request_id": profile.request_id,
        "target_id": profile.target.id,
        "service": profile.target.service,
        "kind": profile.kind.value,
        "state": profile.state.value,
        "create_time": profile.create_time,
        "body": _PROFILE.dump_json(profile).decode(),
    }


def to_profile(row: sa.RowMapping) -> Profile:
    """The profile of a row."""
    return _PROFILE.validate_json(row["body"])
