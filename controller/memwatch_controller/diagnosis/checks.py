"""What one look found, and the looks at agents and targets. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from memwatch_controller.model import Agent, Millis, Target, TargetState

#: Pods, targets or rights that one check names.
MAX_SUBJECTS = 50

#: A sample is taken right before it is sent, so a difference above this is the clock's.
CLOCK_WARN_MILLIS = 5_000

#: Certificates and late snapshots go wrong from here on.
CLOCK_FAIL_MILLIS = 60_000

#: A service at this share of its limit has no room for a snapshot of its own.
HEADROOM_SHARE = 0.85


class State(StrEnum):
    """How a thing that was looked at is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: a word.
        state: how it is.
        message: what was found, in one sentence.
        next_step: what to do about it; empty where nothing is to be done.
        subjects: pods, targets or rights that it is about.
    """

    name: str
    state: State
    message: str
    next_step: str = ""
    subjects: tuple[str, ...] = ()


def check(
    name: str, state: State, message: str, next_step: str = "", subjects: Sequence[str] = ()
) -> Check:
    """A check whose subjects are cut at `MAX_SUBJECTS`."""
    return Check(name, state, message, next_step, tuple(subjects[:MAX_SUBJECTS]))


def of_agents(known: Sequence[Agent], connected: Sequence[Agent]) -> Check:
    """Whether agents are connected."""
    if not connected:
        message = f"no agent is connected; {len(known)} were heard of before"
        step = "start one beside a service: docs/howto/kubernetes-capture.md, docker.md, or --pid"
        return check("agents", State.WARNING, message, step)
    return check("agents", State.OK, f"{len(connected)} connected")


def of_versions(connected: Sequence[Agent], version: str) -> Check:
    """Whether agents are of the controller's version."""
    others = [agent for agent in connected if agent.version != version]
    if not others:
        return check("versions", State.OK, f"the controller and its agents are {version}")
    found = ", ".join(sorted({agent.version or "unknown" for agent in others}))
    return check(
        "versions",
        State.WARNING,
        f"the controller is {version}, and {len(others)} agents are {found}",
        "roll their pods out again, so that they get the agent of this version",
        [_agent_name(agent) for agent in others],
    )


def of_targets(targets: Sequence[Target]) -> Check:
    """Whether the processes that agents see can be captured: hooks, users, inspectors."""
    live = [target for target in targets if target.state is TargetState.REACHABLE]
    if not live:
        return check("targets", State.SKIPPED, "no agent reports a process")
    closed = [target for target in live if not target.ways]
    if not closed:
        hooked = sum(target.hooked for target in live)
        return check("targets", State.OK, f"{len(live)} can be captured, {hooked} by a hook")
    return check(
        "targets",
        State.WARNING,
        f"{len(closed)} of {len(live)} processes cannot be captured; of the first: "
        f"{closed[0].unavailable_reason or 'its agent names no way in'}",
        "memwatchctl targets list says why of each",
        [target_name(target) for target in closed],
    )


def of_headroom(targets: Sequence[Target]) -> Check:
    """Whether services have room for a snapshot below their memory limits."""
    limited = [(target, share) for target in targets if (share := used_share(target)) is not None]
    if not limited:
        return check("headroom", State.SKIPPED, "no process that is reported has a memory limit")
    tight = [(target, share) for target, share in limited if share >= HEADROOM_SHARE]
    if not tight:
        return check("headroom", State.OK, f"{len(limited)} are below {HEADROOM_SHARE:.0%}")
    return check(
        "headroom",
        State.WARNING,
        f"{len(tight)} of {len(limited)} use {HEADROOM_SHARE:.0%} of their memory limit or more: "
        "captures of them will be refused",
        "raise their limit, or capture them earlier",
        [f"{target_name(target)}: {share:.0%}" for target, share in tight],
    )


def used_share(target: Target) -> float | None:
    """How much of its memory limit a target uses; None where that is not known."""
    memory = target.memory
    if target.state is not TargetState.REACHABLE or memory is None:
        return None
    if not memory.cgroup_limit_bytes or memory.cgroup_usage_bytes is None:
        return None
    return memory.cgroup_usage_bytes / memory.cgroup_limit_bytes


def of_clocks(targets: Sequence[Target]) -> Check:
    """Whether agents' clocks agree with the controller's."""
    skews: dict[str, Millis] = {}
    for target in targets:
        if target.state is TargetState.REACHABLE and target.memory and target.memory.sample_time:
            skew = target.memory.sample_time - target.last_seen_time
            if abs(skew) >= abs(skews.get(target.agent_id, 0)):
                skews[target.agent_id] = skew
    if not skews:
        return check("clock", State.SKIPPED, "no agent has told its time")
    worst = max(abs(skew) for skew in skews.values())
    off = [f"agent {id}: {s / 1000:+.1f} s" for id, s in skews.items() if _is_off(s)]
    if not off:
        return check("clock", State.OK, f"agents differ by at most {worst / 1000:.1f} s")
    return check(
        "clock",
        State.FAILED if worst >= CLOCK_FAIL_MILLIS else State.WARNING,
        f"the clocks of {len(off)} agents differ from the controller's by up to "
        f"{worst / 1000:.0f} s: times of snapshots and certificates are wrong by that",
        "see whether their nodes keep time (NTP)",
        off,
    )


def _is_off(skew: Millis) -> bool:
    return abs(skew) >= CLOCK_WARN_MILLIS


def of_store(cause: str) -> Check:
    """Whether database and blob store answer; `cause` says why not."""
    if cause:
        return check("store", State.FAILED, cause, "see the controller's log")
    return check("store", State.OK, "database and blob store answer")


def target_name(target: Target) -> str:
    """A target in a few words."""
    place = f"{target.namespace}/{target.pod}" if target.pod else f"pid {target.pid}"
    return f"{target.service or target.runtime.value} ({place}, {target.id})"


def _agent_name(agent: Agent) -> str:
    return f"{agent.namespace}/{agent.pod}" if agent.pod else f"{agent.id} on {agent.host}"
