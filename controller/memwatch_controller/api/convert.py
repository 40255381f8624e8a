"""Agents, targets and sessions as messages, and back.

With `convert_snapshots` the only place that knows both protobuf and our own values.
"""

from memwatch_controller import model
from memwatch_controller.api import convert_isolations
from memwatch_controller.api.convert_snapshots import (
    pause_mode_from_pb,
    pause_mode_to_pb,
    progress_to_pb,
    runtime_from_pb,
    runtime_to_pb,
    sample_from_pb,
    sample_to_pb,
    snapshot_to_pb,
    time_from_pb,
    time_to_pb,
    way_from_pb,
    way_to_pb,
)
from memwatch_controller.sessions.model import next_capture_time
from memwatch_proto.v1 import agents_pb2, common_pb2, sessions_pb2, targets_pb2

_TARGET_STATES = {
    model.TargetState.REACHABLE: targets_pb2.TARGET_STATE_REACHABLE,
    model.TargetState.UNREACHABLE: targets_pb2.TARGET_STATE_UNREACHABLE,
    model.TargetState.GONE: targets_pb2.TARGET_STATE_GONE,
}
_SESSION_STATES = {
    model.SessionState.PENDING: sessions_pb2.SESSION_STATE_PENDING,
    model.SessionState.CAPTURING_BEFORE: sessions_pb2.SESSION_STATE_CAPTURING_BEFORE,
    model.SessionState.WAITING: sessions_pb2.SESSION_STATE_WAITING,
    model.SessionState.CAPTURING_AFTER: sessions_pb2.SESSION_STATE_CAPTURING_AFTER,
    model.SessionState.ANALYSING: sessions_pb2.SESSION_STATE_ANALYSING,
    model.SessionState.SUCCEEDED: sessions_pb2.SESSION_STATE_SUCCEEDED,
    model.SessionState.FAILED: sessions_pb2.SESSION_STATE_FAILED,
    model.SessionState.CANCELLED: sessions_pb2.SESSION_STATE_CANCELLED,
}
_PICKS = {
    sessions_pb2.POD_PICK_UNSPECIFIED: model.PodPick.ANY,
    sessions_pb2.POD_PICK_OLDEST: model.PodPick.OLDEST,
    sessions_pb2.POD_PICK_FATTEST: model.PodPick.FATTEST,
    sessions_pb2.POD_PICK_NEWEST: model.PodPick.NEWEST,
    sessions_pb2.POD_PICK_ALL: model.PodPick.ALL,
}
_PICKS_BACK = {value: key for key, value in _PICKS.items()}
_SESSION_STATES_BACK = {value: key for key, value in _SESSION_STATES.items()}


def agent_from_pb(message: agents_pb2.Agent) -> model.Agent:
    """An agent of a message."""
    return model.Agent(
        id=message.id,
        version=message.version,
        host=message.host,
        pod=message.pod,
        namespace=message.namespace,
        address=message.address,
        capabilities=tuple(
            model.Capability(one.name, one.enabled, one.reason) for one in message.capabilities
        ),
        start_time=time_from_pb(message.start_time),
    )


def agent_to_pb(agent: model.Agent) -> agents_pb2.Agent:
    """An agent as a message; what lies in its spool is not known here."""
    return agents_pb2.Agent(
        id=agent.id,
        version=agent.version,
        host=agent.host,
        pod=agent.pod,
        namespace=agent.namespace,
        address=agent.address,
        capabilities=[
            agents_pb2.Capability(name=found.name, enabled=found.enabled, reason=found.reason)
            for found in agent.capabilities
        ],
        start_time=time_to_pb(agent.start_time),
    )


def target_from_pb(message: targets_pb2.Target) -> model.Target:
    """A target of a message, as its agent sees it."""
    return model.Target(
        id=message.id,
        agent_id=message.agent_id,
        pid=message.pid,
        start_time=time_from_pb(message.start_time),
        runtime=runtime_from_pb(message.runtime),
        runtime_version=message.runtime_version,
        container_id=message.container_id,
        pod=message.pod,
        namespace=message.namespace,
        service=message.service,
        command=message.command,
        labels=dict(message.labels),
        hooked=message.hooked,
        ways=tuple(way_from_pb(way) for way in message.ways),
        unavailable_reason=message.unavailable_reason,
        memory=sample_from_pb(message.memory) if message.HasField("memory") else None,
        role=message.role,
        worker_threads=message.worker_threads,
        pod_uid=message.pod_uid,
    )


def target_to_pb(target: model.Target) -> targets_pb2.Target:
    """A target as a message."""
    return targets_pb2.Target(
        id=target.id,
        agent_id=target.agent_id,
        pid=target.pid,
        start_time=time_to_pb(target.start_time),
        runtime=runtime_to_pb(target.runtime),
        runtime_version=target.runtime_version,
        container_id=target.container_id,
        pod=target.pod,
        namespace=target.namespace,
        service=target.service,
        command=target.command,
        labels=target.labels,
        hooked=target.hooked,
        ways=[way_to_pb(way) for way in target.ways],
        unavailable_reason=target.unavailable_reason,
        state=_TARGET_STATES[target.state],
        last_seen_time=time_to_pb(target.last_seen_time),
        memory=None if target.memory is None else sample_to_pb(target.memory),
        role=target.role,
        worker_threads=target.worker_threads,
        pod_uid=target.pod_uid,
    )


def selector_from_pb(message: targets_pb2.TargetSelector) -> model.Selector:
    """A selector of a message."""
    return model.Selector(
        ids=tuple(message.ids),
        name=message.name,
        service=message.service,
        container_id=message.container_id,
        namespace=message.namespace,
        pid=message.pid,
        labels=dict(message.labels),
        runtime=runtime_from_pb(message.runtime),
        workload=(
            model.Workload(message.workload.kind, message.workload.name)
            if message.HasField("workload")
            else None
        ),
        container=message.container,
    )


def selector_to_pb(selector: model.Selector) -> targets_pb2.TargetSelector:
    """A selector as a message."""
    return targets_pb2.TargetSelector(
        ids=selector.ids,
        name=selector.name,
        service=selector.service,
        container_id=selector.container_id,
        namespace=selector.namespace,
        pid=selector.pid,
        labels=selector.labels,
        runtime=runtime_to_pb(selector.runtime),
        workload=(
            targets_pb2.Workload(kind=selector.workload.kind, name=selector.workload.name)
            if selector.workload
            else None
        ),
        container=selector.container,
    )


def plan_from_pb(message: sessions_pb2.SessionPlan) -> model.SessionPlan:
    """A plan of a message; 0 stands for a default, which `plan.completed` fills in."""
    return model.SessionPlan(
        selector=selector_from_pb(message.selector),
        fleet=message.fleet,
        max_parallel=message.max_parallel,
        timeframe_millis=message.timeframe_millis,
        snapshots=message.snapshots,
        way=way_from_pb(message.way),
        force=message.force,
        max_pause_millis=message.max_pause_millis,
        pause=pause_mode_from_pb(message.pause),
        service=message.service,
        labels=dict(message.labels),
        strategy=message.strategy,
        pick=_PICKS.get(message.pick, model.PodPick.ANY),
        beside_newest=message.beside_newest,
        isolation=convert_isolations.wish_from_pb(message.isolation),
        allocation_frames=message.allocation_frames,
    )


def plan_to_pb(plan: model.SessionPlan) -> sessions_pb2.SessionPlan:
    """A plan as a message."""
    return sessions_pb2.SessionPlan(
        selector=selector_to_pb(plan.selector),
        fleet=plan.fleet,
        max_parallel=plan.max_parallel,
        timeframe_millis=plan.timeframe_millis,
        snapshots=plan.snapshots,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=way_to_pb(plan.way),
        force=plan.force,
        max_pause_millis=plan.max_pause_millis,
        pause=pause_mode_to_pb(plan.pause),
        service=plan.service,
        labels=plan.labels,
        strategy=plan.strategy,
        pick=_PICKS_BACK[plan.pick],
        beside_newest=plan.beside_newest,
        isolation=convert_isolations.wish_to_pb(plan.isolation),
        allocation_frames=plan.allocation_frames,
    )


def session_to_pb(session: model.Session) -> sessions_pb2.Session:
    """A session as a message."""
    return sessions_pb2.Session(
        id=session.id,
        request_id=session.request_id,
        plan=plan_to_pb(session.plan),
        state=_SESSION_STATES[session.state],
        targets=[_part_to_pb(part) for part in session.targets],
        create_time=time_to_pb(session.create_time),
        update_time=time_to_pb(session.update_time),
        end_time=time_to_pb(session.end_time),
        next_capture_time=time_to_pb(next_capture_time(session)),
        error=_error_to_pb(session.error),
        report_ids=[part.report_id for part in session.targets if part.report_id],
    )


def _part_to_pb(part: model.SessionTarget) -> sessions_pb2.SessionTarget:
    return sessions_pb2.SessionTarget(
        target=target_to_pb(part.target),
        state=_SESSION_STATES[part.state],
        snapshots=[snapshot_to_pb(snapshot) for snapshot in part.snapshots],
        progress=None if part.progress is None else progress_to_pb(part.progress),
        error=_error_to_pb(part.error),
        report_id=part.report_id,
        analysis=_analysis_to_pb(part.analysis),
    )


def _analysis_to_pb(
    progress: model.AnalysisProgress | None,
) -> sessions_pb2.AnalysisProgress | None:
    if progress is None:
        return None
    return sessions_pb2.AnalysisProgress(doing=progress.doing, done_percent=progress.done_percent)


def _error_to_pb(error: model.SessionError | None) -> sessions_pb2.SessionError | None:
    if error is None:
        return None
    return sessions_pb2.SessionError(phase=error.phase, reason=error.reason, message=error.message)


def session_state_from_pb(state: "sessions_pb2.SessionState") -> model.SessionState | None:
    """A session's state of its enum; None for one that is not known."""
    return _SESSION_STATES_BACK.get(state)
