"""The metadata of agents, targets, sessions, snapshots and reports, in SQL.

Every method is one transaction. Lists go from the newest to the oldest and continue
after a `Cursor` (time and id of the last item of the page before), so that a page costs
the same wherever it is.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from memwatch_controller import model
from memwatch_controller.store import rows, schema
from memwatch_controller.store.database import Database

#: Where a list goes on: time and id of the last item that was seen.
Cursor = tuple[model.Millis, str]

#: States in which a session is open.
_FINISHED = (
    model.SessionState.SUCCEEDED.value,
    model.SessionState.FAILED.value,
    model.SessionState.CANCELLED.value,
)

#: Rows in one statement; SQLite allows 32,766 parameters.
_BATCH_ROWS = 500


class Metadata:
    """What the controller knows, in tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Agents and targets.

    async def save_agents(self, agents: Iterable[model.Agent]) -> None:
        """Writes agents, each over its earlier row."""
        await self._upsert(schema.agents, [rows.from_agent(agent) for agent in agents])

    async def save_targets(self, targets: Iterable[model.Target]) -> None:
        """Writes targets, each over its earlier row."""
        await self._upsert(schema.targets, [rows.from_target(target) for target in targets])

    async def load_agents(self) -> list[model.Agent]:
        """All agents ever seen and not forgotten."""
        return [rows.to_agent(row) for row in await self._all(sa.select(schema.agents))]

    async def load_targets(self) -> list[model.Target]:
        """All targets ever seen and not forgotten."""
        return [rows.to_target(row) for row in await self._all(sa.select(schema.targets))]

    async def delete_targets(self, ids: Sequence[str]) -> None:
        """Forgets targets; unknown ids are no error."""
        await self._delete(schema.targets, ids)

    async def delete_agents(self, ids: Sequence[str]) -> None:
        """Forgets agents; unknown ids are no error."""
        await self._delete(schema.agents, ids)

    # Sessions.

    async def insert_session(self, session: model.Session) -> model.Session:
        """Writes a new session; where its request id is known, returns that session instead.

        Raises:
            sqlalchemy.exc.IntegrityError: another session has this id.
        """
        parts = [
            rows.from_part(session.id, position, part)
            for position, part in enumerate(session.targets)
        ]
        async with self._database.writing() as connection:
            known = await _one(
                connection,
                sa.select(schema.sessions).where(
                    schema.sessions.c.request_id == session.request_id
                ),
            )
            if known is not None:
                return (await _with_parts(connection, [known]))[0]
            await connection.execute(sa.insert(schema.sessions), [rows.from_session(session)])
            for start in range(0, len(parts), _BATCH_ROWS):
                await connection.execute(
                    sa.insert(schema.session_targets), parts[start : start + _BATCH_ROWS]
                )
        return session

    async def get_session(self, id: str) -> model.Session | None:
        """One session with its parts and their snapshots; None where there is none."""
        return await self._session(schema.sessions.c.id == id)

    async def find_session_by_request(self, request_id: str) -> model.Session | None:
        """The session that a request made; None where there is none."""
        return await self._session(schema.sessions.c.request_id == request_id)

    async def list_sessions(
        self,
        *,
        states: Sequence[model.SessionState] = (),
        service: str = "",
        limit: int,
        after: Cursor | None = None,
    ) -> list[model.Session]:
        """Sessions, the newest first."""
        query = _page(schema.sessions, schema.sessions.c.create_time, limit, after)
        if states:
            query = query.where(schema.sessions.c.state.in_([state.value for state in states]))
        if service:
            query = query.where(schema.sessions.c.service == service)
        async with self._database.viewing() as connection:
            found = (await connection.execute(query)).mappings().all()
            return await _with_parts(connection, found)

    async def list_open_session_ids(self) -> list[str]:
        """Ids of the sessions that are not finished, the oldest first."""
        query = (
            sa.select(schema.sessions.c.id)
            .where(schema.sessions.c.state.not_in(_FINISHED))
            .order_by(schema.sessions.c.create_time)
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).scalars())

    async def count_open_sessions(self) -> int:
        """How many sessions are not finished."""
        query = (
            sa.select(sa.func.count())
            .select_from(schema.sessions)
            .where(schema.sessions.c.state.not_in(_FINISHED))
        )
        async with self._database.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def count_sessions(self) -> dict[model.SessionState, int]:
        """How many sessions there are in each state; a state without any is not there."""
        state = schema.sessions.c.state
        query = sa.select(state, sa.func.count()).group_by(state)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).all()
        return {model.SessionState(name): count for name, count in found}

    async def update_session(
        self,
        before: model.Session,
        after: model.Session,
        snapshots: Iterable[model.Snapshot] = (),
    ) -> bool:
        """Writes a change; False, and nothing written, where `before` is no longer current.

        Only the session's own row and the parts that differ are written, and `snapshots`
        over their earlier rows. The caller gives `after` the version that follows `before`'s.
        """
        was = {part.target.id: part for part in before.targets}
        async with self._database.writing() as connection:
            done = await connection.execute(
                sa.update(schema.sessions)
                .where(
                    schema.sessions.c.id == before.id,
                    schema.sessions.c.version == before.version,
                )
                .values(rows.from_session(after))
            )
            if done.rowcount != 1:
                return False
            for position, part in enumerate(after.targets):
                if part is not was[part.target.id]:
                    await _update_part(connection, after.id, position, part)
            for snapshot in snapshots:
                await _update_snapshot(connection, snapshot)
        return True

    async def delete_session(self, id: str) -> None:
        """Deletes a session, its parts and its reports; not its snapshots."""
        async with self._database.writing() as connection:
            await connection.execute(
                sa.delete(schema.reports).where(schema.reports.c.session_id == id)
            )
            await connection.execute(sa.delete(schema.sessions).where(schema.sessions.c.id == id))

    # Snapshots.

    async def insert_snapshot(self, snapshot: model.Snapshot) -> model.Snapshot:
        """Writes a new snapshot; where its request id is known, returns that snapshot instead.

        Raises:
            sqlalchemy.exc.IntegrityError: another snapshot has this id.
        """
        wanted = schema.snapshots.c.request_id == snapshot.request_id
        async with self._database.writing() as connection:
            known = await _one(connection, sa.select(schema.snapshots).where(wanted))
            if known is not None:
                return rows.to_snapshot(known)
            await connection.execute(sa.insert(schema.snapshots), [rows.from_snapshot(snapshot)])
        return snapshot

    async def get_snapshot(self, id: str) -> model.Snapshot | None:
        """One snapshot; None where there is none."""
        return await self._snapshot(schema.snapshots.c.id == id)

    async def find_snapshot_by_request(self, request_id: str) -> model.Snapshot | None:
        """The snapshot that a request made; None where there is none."""
        return await self._snapshot(schema.snapshots.c.request_id == request_id)

    async def list_snapshots(
        self,
        *,
        session_id: str = "",
        target_id: str = "",
        limit: int,
        after: Cursor | None = None,
    ) -> list[model.Snapshot]:
        """Snapshots, the newest first."""
        query = _page(schema.snapshots, schema.snapshots.c.capture_time, limit, after)
        if session_id:
            query = query.where(schema.snapshots.c.session_id == session_id)
        if target_id:
            query = query.where(schema.snapshots.c.target_id == target_id)
        return [rows.to_snapshot(row) for row in await self._all(query)]

    async def update_snapshot(self, snapshot: model.Snapshot) -> None:
        """Writes a snapshot over its earlier row; a snapshot that is not there is no error."""
        async with self._database.writing() as connection:
            await _update_snapshot(connection, snapshot)

    async def delete_snapshot(self, id: str) -> None:
        """Forgets a snapshot; an unknown id is no error."""
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(schema.snapshots).where(schema.snapshots.c.id == id))

    async def count_snapshots(self) -> int:
        """How many snapshots there are."""
        query = sa.select(sa.func.count()).select_from(schema.snapshots)
        async with self._database.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def total_stored_bytes(self) -> int:
        """Sum of the stored sizes of all snapshots."""
        query = sa.select(sa.func.coalesce(sa.func.sum(schema.snapshots.c.stored_size_bytes), 0))
        async with self._database.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    # Reports.

    async def insert_report(self, report: model.Report) -> model.Report:
        """Writes a new report; a target has one in a session: a second call returns the first's."""
        wanted = sa.and_(
            schema.reports.c.session_id == report.session_id,
            schema.reports.c.target_id == report.target_id,
        )
        async with self._database.writing() as connection:
            known = await _one(connection, sa.select(schema.reports).where(wanted))
            if known is not None:
                return rows.to_report(known)
            await connection.execute(sa.insert(schema.reports), [rows.from_report(report)])
        return report

    async def get_report(self, id: str) -> model.Report | None:
        """One report; None where there is none."""
        async with self._database.reading() as connection:
            row = await _one(connection, sa.select(schema.reports).where(schema.reports.c.id == id))
        return rows.to_report(row) if row is not None else None

    async def list_reports(
        self, *, session_id: str = "", limit: int, after: Cursor | None = None
    ) -> list[model.Report]:
        """Reports, the newest first."""
        query = _page(schema.reports, schema.reports.c.create_time, limit, after)
        if session_id:
            query = query.where(schema.reports.c.session_id == session_id)
        return [rows.to_report(row) for row in await self._all(query)]

    # How.

    async def _all(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).mappings())

    async def _session(self, wanted: sa.ColumnElement[bool]) -> model.Session | None:
        async with self._database.viewing() as connection:
            row = await _one(connection, sa.select(schema.sessions).where(wanted))
            return None if row is None else (await _with_parts(connection, [row]))[0]

    async def _snapshot(self, wanted: sa.ColumnElement[bool]) -> model.Snapshot | None:
        async with self._database.reading() as connection:
            row = await _one(connection, sa.select(schema.snapshots).where(wanted))
        return rows.to_snapshot(row) if row is not None else None

    async def _delete(self, table: sa.Table, ids: Sequence[str]) -> None:
        if not ids:
            return
        async with self._database.writing() as connection:
            for start in range(0, len(ids), _BATCH_ROWS):
                batch = ids[start : start + _BATCH_ROWS]
                await connection.execute(sa.delete(table).where(table.c.id.in_(batch)))

    async def _upsert(self, table: sa.Table, new: list[rows.Row]) -> None:
        if not new:
            return
        insert = sqlite.insert(table) if self._database.dialect == "sqlite" else None
        statement = insert if insert is not None else postgresql.insert(table)
        changes = {name: statement.excluded[name] for name in new[0] if name != "id"}
        async with self._database.writing() as connection:
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_=changes), new
            )


def _page(
    table: sa.Table, time: sa.Column[int], limit: int, after: Cursor | None
) -> sa.Select[Any]:
    """A page of a table, newest first; the id breaks ties."""
    query = sa.select(table).order_by(time.desc(), table.c.id.desc()).limit(limit)
    return query if after is None else query.where(sa.tuple_(time, table.c.id) < after)


async def _one(connection: AsyncConnection, query: sa.Select[Any]) -> sa.RowMapping | None:
    found: sa.RowMapping | None = (await connection.execute(query)).mappings().one_or_none()
    return found


async def _with_parts(
    connection: AsyncConnection, found: Sequence[sa.RowMapping]
) -> list[model.Session]:
    """Sessions of their rows, with parts and snapshots, in three statements for all of them."""
    ids = [row["id"] for row in found]
    taken: dict[tuple[str, str], list[model.Snapshot]] = {}
    parts: dict[str, list[model.SessionTarget]] = {}
    snapshots = (
        sa.select(schema.snapshots)
        .where(schema.snapshots.c.session_id.in_(ids))
        .order_by(schema.snapshots.c.capture_time, schema.snapshots.c.id)
    )
    for row in (await connection.execute(snapshots)).mappings():
        key = (row["session_id"], row["target_id"])
        taken.setdefault(key, []).append(rows.to_snapshot(row))
    query = (
        sa.select(schema.session_targets)
        .where(schema.session_targets.c.session_id.in_(ids))
        .order_by(schema.session_targets.c.session_id, schema.session_targets.c.position)
    )
    for row in (await connection.execute(query)).mappings():
        own = tuple(taken.get((row["session_id"], row["target_id"]), ()))
        parts.setdefault(row["session_id"], []).append(rows.to_part(row, own))
    return [rows.to_session(row, tuple(parts.get(row["id"], ()))) for row in found]


async def _update_part(
    connection: AsyncConnection, session_id: str, position: int, part: model.SessionTarget
) -> None:
    await connection.execute(
        sa.update(schema.session_targets)
        .where(
            schema.session_targets.c.session_id == session_id,
            schema.session_targets.c.target_id == part.target.id,
        )
        .values(rows.from_part(session_id, position, part))
    )


async def _update_snapshot(connection: AsyncConnection, snapshot: model.Snapshot) -> None:
    await connection.execute(
        sa.update(schema.snapshots)
        .where(schema.snapshots.c.id == snapshot.id)
        .values(rows.from_snapshot(snapshot))
    )
