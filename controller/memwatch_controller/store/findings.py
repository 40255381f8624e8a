"""Findings, in SQL."""

import builtins
from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter

from memwatch_controller import model
from memwatch_controller.finding import Finding, FindingType, Severity
from memwatch_controller.store import schema
from memwatch_controller.store.database import Database
from memwatch_controller.store.rows import Row

_FINDING = TypeAdapter(Finding)
_table = schema.findings


class FindingTable:
    """Findings, each a row; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, findings: Sequence[Finding]) -> None:
        """Writes findings over their earlier rows."""
        if not findings:
            return
        ids = [finding.id for finding in findings]
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(_table).where(_table.c.id.in_(ids)))
            await connection.execute(sa.insert(_table), [from_finding(one) for one in findings])

    async def get(self, id: str) -> Finding | None:
        """One finding; None where there is none."""
        query = sa.select(_table).where(_table.c.id == id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else to_finding(row)

    async def standing(self) -> builtins.list[Finding]:
        """Those that are not over."""
        query = sa.select(_table).where(_table.c.end_time == 0)
        async with self._database.reading() as connection:
            return [to_finding(row) for row in (await connection.execute(query)).mappings()]

    async def list(
        self,
        *,
        target_ids: Sequence[str] | None = None,
        kind: FindingType | None = None,
        min_severity: Severity = Severity.LOW,
        include_over: bool = False,
        unacknowledged_only: bool = False,
        limit: int,
        after: tuple[int, str] | None = None,
    ) -> builtins.list[Finding]:
        """Findings, the worst first, then the newest; `after` is a rank and an id."""
        order = (_table.c.rank.desc(), _table.c.id.desc())
        query = sa.select(_table).order_by(*order).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(_table.c.rank, _table.c.id) < after)
        if target_ids is not None:
            query = query.where(_table.c.target_id.in_(target_ids))
        if kind is not None:
            query = query.where(_table.c.type == kind.value)
        if not include_over:
            query = query.where(_table.c.end_time == 0)
        if unacknowledged_only:
            query = query.where(_table.c.acknowledged.is_(False))
        query = query.where(_table.c.rank >= min_severity * 10**13)
        async with self._database.reading() as connection:
            return [to_finding(row) for row in (await connection.execute(query)).mappings()]

    async def forget(self, ended_before: model.Millis) -> int:
        """Deletes what was over before a time; how many."""
        old = (_table.c.end_time > 0) & (_table.c.end_time < ended_before)
        async with self._database.writing() as connection:
            return (await connection.execute(sa.delete(_table).where(old))).rowcount


def from_finding(finding: Finding) -> Row:
    """The row of a finding."""
    return {
        "id": finding.id,
        "target_id": finding.target_id,
        "type": finding.type.value,
        "rank": finding.rank,
        "end_time": finding.end_time,
        "acknowledged": bool(finding.acknowledged_by),
        "body": _FINDING.dump_json(finding).decode(),
    }


def to_finding(row: sa.RowMapping) -> Finding:
    """The finding of a row."""
    return _FINDING.validate_json(row["body"])
