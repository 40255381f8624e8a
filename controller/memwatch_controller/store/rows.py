"""Values of `model` as table rows and back."""

from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter

from memwatch_controller import model

_Value = TypeVar("_Value")
#: A row as a mapping of column to value.
Row = dict[str, Any]

_AGENT = TypeAdapter(model.Agent)
_TARGET = TypeAdapter(model.Target)
_PLAN = TypeAdapter(model.SessionPlan)
_ERROR = TypeAdapter(model.SessionError)
_SNAPSHOT = TypeAdapter(model.Snapshot)
_IDS = TypeAdapter(tuple[str, ...])


def _text(adapter: TypeAdapter[_Value], value: _Value) -> str:
    return adapter.dump_json(value).decode()


def from_agent(agent: model.Agent) -> Row:
    """The row of an agent."""
    return {
        "id": agent.id,
        "last_seen_time": agent.last_seen_time,
        "body": _text(_AGENT, agent),
    }


def to_agent(row: sa.RowMapping) -> model.Agent:
    """The agent of a row."""
    return _AGENT.validate_json(row["body"])


def from_target(target: model.Target) -> Row:
    """The row of a target."""
    return {
        "id": target.id,
        "agent_id": target.agent_id,
        "state": target.state.value,
        "last_seen_time": target.last_seen_time,
        "body": _text(_TARGET, target),
    }


def to_target(row: sa.RowMapping) -> model.Target:
    """The target of a row."""
    return _TARGET.validate_json(row["body"])


def from_session(session: model.Session) -> Row:
    """The row of a session, without its parts."""
    return {
        "id": session.id,
        "request_id": session.request_id,
        "service": session.plan.service,
        "state": session.state.value,
        "version": session.version,
        "create_time": session.create_time,
        "update_time": session.update_time,
        "end_time": session.end_time,
        "plan": _text(_PLAN, session.plan),
        "error": _text(_ERROR, session.error) if session.error else None,
    }


def to_session(row: sa.RowMapping, parts: tuple[model.SessionTarget, ...]) -> model.Session:
    """The session of a row and its parts."""
    return model.Session(
        id=row["id"],
        request_id=row["request_id"],
        plan=_PLAN.validate_json(row["plan"]),
        state=model.SessionState(row["state"]),
        targets=parts,
        create_time=row["create_time"],
        update_time=row["update_time"],
        end_time=row["end_time"],
        error=_ERROR.validate_json(row["error"]) if row["error"] else None,
        version=row["version"],
    )


def from_part(session_id: str, position: int, part: model.SessionTarget) -> Row:
    """The row of one target's part in a session; its snapshots have rows of their own."""
    return {
        "session_id": session_id,
        "target_id": part.target.id,
        "position": position,
        "state": part.state.value,
        "taken": part.taken,
        "first_time": part.first_time,
        "due_time": part.due_time,
        "phase_time": part.phase_time,
        "report_id": part.report_id,
        "target": _text(_TARGET, part.target),
        "error": _text(_ERROR, part.error) if part.error else None,
    }


def to_part(row: sa.RowMapping, snapshots: tuple[model.Snapshot, ...]) -> model.SessionTarget:
    """One target's part in a session, of its row and its snapshots."""
    return model.SessionTarget(
        target=_TARGET.validate_json(row["target"]),
        state=model.SessionState(row["state"]),
        taken=row["taken"],
        first_time=row["first_time"],
        due_time=row["due_time"],
        phase_time=row["phase_time"],
        snapshots=snapshots,
        error=_ERROR.validate_json(row["error"]) if row["error"] else None,
        report_id=row["report_id"],
    )


def from_snapshot(snapshot: model.Snapshot) -> Row:
    """The row of a snapshot."""
    return {
        "id": snapshot.id,
        "request_id": snapshot.request_id,
        "session_id": snapshot.session_id,
        "target_id": snapshot.target_id,
        "phase": snapshot.phase,
        "service": snapshot.service,
        "capture_time": snapshot.capture_time,
        "stored_size_bytes": snapshot.stored_size_bytes,
        "late": snapshot.late,
        "late_millis": snapshot.late_millis,
        "body": _text(_SNAPSHOT, snapshot),
    }


def to_snapshot(row: sa.RowMapping) -> model.Snapshot:
    """The snapshot of a row."""
    return _SNAPSHOT.validate_json(row["body"])


def from_report(report: model.Report) -> Row:
    """The row of a report."""
    return {
        "id": report.id,
        "session_id": report.session_id,
        "target_id": report.target_id,
        "create_time": report.create_time,
        "snapshot_ids": _text(_IDS, report.snapshot_ids),
        "summary": report.summary,
        "json": report.json,
    }


def to_report(row: sa.RowMapping) -> model.Report:
    """The report of a row."""
    return model.Report(
        id=row["id"],
        session_id=row["session_id"],
        target_id=row["target_id"],
        create_time=row["create_time"],
        snapshot_ids=_IDS.validate_json(row["snapshot_ids"]),
        summary=row["summary"],
        json=row["json"],
    )
