"""The agent's targets: processes and hooks put together, with the ways into each."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from memwatch_agent import procfs, unhooked
from memwatch_agent.drivers.base import HeapFigures, Process, Runtime, Way
from memwatch_agent.drivers.pythonattach import AttachPython, obstacle
from memwatch_agent.errors import TargetNotFoundError
from memwatch_agent.hooks import Hook, HookFinder, described
from memwatch_agent.processes import Found, ProcessTable, service_name
from memwatch_agent.sampling import Sampler
from memwatch_proto.v1 import common_pb2, targets_pb2

#: A process without a hook is listed from this age on: a build step, a health probe or
#: `node --version` would otherwise come and go as a target.
MIN_AGE_SECONDS = 2.0

_CAP_KILL = 5

_NO_HOOK = (
    "no memwatch hook answers in it; start it with `python -m memwatch_hook` "
    "or with the hook's bootstrap folder on PYTHONPATH"
)

WAYS = {Way.HOOK: common_pb2.CAPTURE_WAY_HOOK, Way.ATTACH: common_pb2.CAPTURE_WAY_ATTACH}
RUNTIMES = {Runtime.NODE: common_pb2.RUNTIME_NODE, Runtime.PYTHON: common_pb2.RUNTIME_PYTHON}


@dataclass(frozen=True)
class Place:
    """Where the agent runs; the targets share it unless they tell otherwise.

    Attributes:
        uid: the agent's effective user id.
        may_signal_all: whether it may signal processes of other users.
        host_key: the pod's uid or the boot's id; part of every target's id.
    """

    uid: int
    may_signal_all: bool
    host_key: str
    pod: str = ""
    namespace: str = ""
    pod_uid: str = ""
    service: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: How a Python process without a hook may be entered; mostly not at all.
    attach_python: AttachPython = AttachPython.OFF


@dataclass(frozen=True)
class Target:
    """One process with the ways into it, best first, or why there is none."""

    id: str
    found: Found
    hook: Hook | None
    ways: tuple[Way, ...]
    unavailable: str
    service: str

    @property
    def process(self) -> Process:
        """What a driver needs to know."""
        return self.found.process(self.hook.socket if self.hook else None)

    @property
    def memory_domain(self) -> str:
        """What one capture at a time is taken of: the pod, else the container, else the host."""
        return self.found.container.pod_uid or self.found.container.container_id or "host"


def read_place(proc: Path, pod_uid: str) -> tuple[int, bool, str]:
    """The agent's uid, whether it may signal everybody, and the host's key."""
    capabilities = 0
    for line in (procfs.read(proc / "self/status") or b"").splitlines():
        if line.startswith(b"CapEff:"):
            capabilities = int(line.split()[1], 16)
    boot = (procfs.read(proc / "sys/kernel/random/boot_id") or b"").decode("ascii", "replace")
    return os.geteuid(), bool(capabilities >> _CAP_KILL & 1), pod_uid or boot.strip()


def ways_into(
    found: Found, hook: Hook | None, place: Place, no_hook: str = ""
) -> tuple[tuple[Way, ...], str]:
    """The ways into a process, best first, and why there is none. Pure.

    `no_hook`: why a Python process has no hook that answers, where that was looked at.
    """
    ways: list[Way] = []
    if hook is not None and "heap" in hook.hello.commands:
        ways.append(Way.HOOK)
    obstacle = _attach_obstacle(found, place, no_hook or _NO_HOOK)
    if not obstacle:
        ways.append(Way.ATTACH)
    return tuple(ways), "" if ways else obstacle


def _attach_obstacle(found: Found, place: Place, no_hook: str) -> str:
    """Why a process cannot be captured without a hook, with the next step; "" where it can."""
    if found.runtime is None:
        return "it runs neither Node.js nor CPython, and memwatch captures only these"
    foreign = found.uid != place.uid and not place.may_signal_all
    if foreign and found.visible:
        return (
            f"it runs as uid {found.uid} and this agent as uid {place.uid}; "
            f"run the agent as uid {found.uid}"
        )
    if found.runtime is Runtime.PYTHON:
        return _python_obstacle(found, place, no_hook)
    if not found.visible:
        return "its pid namespace is not the agent's; share it, or update the hook in it"
    if found.same_network is False:
        return (
            "its network namespace is not the agent's; run the agent in the target's network, "
            "or start it with NODE_OPTIONS=--require=memwatch-hook.cjs"
        )
    if not found.catches_sigusr1 and not _inspector_asked_for(found):
        return (
            "it does not catch SIGUSR1, which opens its inspector; "
            "start it with NODE_OPTIONS=--require=memwatch-hook.cjs"
        )
    return ""


def _python_obstacle(found: Found, place: Place, no_hook: str) -> str:
    """Why a Python process cannot be entered: why it has no hook, where nothing else is allowed."""
    if place.attach_python is AttachPython.OFF:
        return no_hook
    same_root = found.visible and found.root == Path("/")
    why = obstacle(place.attach_python, found.version, found.threads, same_root, found.environ)
    return f"{no_hook}; nor by --attach-python: {why}" if why else ""


def _inspector_asked_for(found: Found) -> bool:
    options = (found.environ or {}).get("NODE_OPTIONS", "").split()
    return any(part.startswith("--inspect") for part in (*found.argv, *options))


def to_pb(
    target: Target, place: Place, memory: common_pb2.MemorySample | None
) -> targets_pb2.Target:
    """The target as it crosses a call."""
    found = target.found
    # A process of another pod, as an agent of the whole host sees it, has another name.
    beside = found.container.pod_uid in ("", place.pod_uid) or not place.pod_uid
    message = targets_pb2.Target(
        id=target.id,
        pid=found.pid,
        runtime=RUNTIMES[found.runtime] if found.runtime else common_pb2.RUNTIME_UNSPECIFIED,
        runtime_version=found.version,
        container_id=found.container.container_id,
        pod=place.pod if beside else "",
        namespace=place.namespace if beside else "",
        service=target.service,
        command=found.command,
        labels=place.labels if beside else {},
        hooked=target.hook is not None,
        ways=[WAYS[way] for way in target.ways],
        unavailable_reason=target.unavailable,
        state=targets_pb2.TARGET_STATE_REACHABLE,
        memory=memory,
        role=found.role,
        worker_threads=found.worker_threads,
        pod_uid=found.container.pod_uid or place.pod_uid,
    )
    message.start_time.FromMilliseconds(int(found.start_seconds * 1000))
    return message


class Roster:
    """Who is there now. `refresh` looks; the others answer from the last look."""

    def __init__(
        self, table: ProcessTable, hooks: HookFinder, sampler: Sampler, place: Place, only: bool
    ) -> None:
        """`only`: whether the table lists what was asked for by pid, whatever it is."""
        self.place = place
        self._table = table
        self._hooks = hooks
        self._sampler = sampler
        self._only = only
        self._targets: dict[str, Target] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def targets(self) -> Sequence[Target]:
        """The targets of the last look, by pid."""
        return tuple(self._targets.values())

    async def refresh(self) -> Sequence[Target]:
        """Looks again; calls at the same time share one look."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)
        return self.targets

    async def find(self, target_id: str) -> Target:
        """One target, looking again if it was not there.

        Raises:
            TargetNotFoundError: it is not there.
        """
        if target_id not in self._targets:
            await self.refresh()
        target = self._targets.get(target_id)
        if target is None or not await asyncio.to_thread(self.alive, target):
            raise TargetNotFoundError(target_id)
        return target

    def alive(self, target: Target) -> bool:
        """Whether the process is still there; one that cannot be seen is believed to be."""
        found = target.found
        stat = procfs.stat(self._table.proc / str(found.pid)) if found.visible else None
        if not found.visible:
            return True
        return stat is not None and not stat.ended and stat.start_ticks == found.start_ticks

    def sample(
        self, target: Target, heap: HeapFigures | None = None
    ) -> common_pb2.MemorySample | None:
        """The target's memory now; None where it has ended. Reads /proc.

        Of a process that cannot be seen, the hook's word is all there is.
        """
        if not target.found.visible:
            return self._sampler.unseen(heap) if target.id in self._targets else None
        return self._sampler.sample(target.found.pid, target.found.start_ticks, heap)

    async def _look(self) -> None:
        processes = await asyncio.to_thread(self._table.scan)
        hooks = await self._hooks.find(processes)
        pairs = [(found, hooks.get(found.pid)) for found in processes]
        if not self._only:
            pairs = [pair for pair in pairs if pair[1] or self._settled(pair[0])]
            for found, hook in await self._hooks.find_invisible(processes, hooks.values()):
                pairs.append((self._placed(found), hook))
        reasons = await asyncio.to_thread(self._reasons, pairs)
        targets = (
            self._target(described(found, hook), hook, reasons.get(found.pid, ""))
            for found, hook in pairs
        )
        self._targets = {target.id: target for target in targets}

    def _settled(self, found: Found) -> bool:
        return self._sampler.now() - found.start_seconds >= MIN_AGE_SECONDS

    def _placed(self, found: Found) -> Found:
        """A process known by its hook alone, at the time that its start ticks tell."""
        return replace(found, start_seconds=self._table.start_seconds(found.start_ticks))

    def _reasons(self, pairs: Sequence[tuple[Found, Hook | None]]) -> dict[int, str]:
        """Why each Python process without a hook has none."""
        return {
            found.pid: unhooked.why(unhooked.look(found, found.pid in self._hooks.silent))
            for found, hook in pairs
            if hook is None and found.runtime is Runtime.PYTHON
        }

    def _target(self, found: Found, hook: Hook | None, why: str) -> Target:
        ways, unavailable = ways_into(found, hook, self.place, why)
        service = found.service or self.place.service or service_name(found.runtime, found.argv)
        return Target(found.id(self.place.host_key), found, hook, ways, unavailable, service)
