"""Which agents and targets there are, and which of them are meant.

Everything is held in memory and answered from there. What must outlive a restart
(identity, address, state) is written in batches when it changes; samples and the time of
the last heartbeat are not. Nothing is deleted because it is silent: a silent agent's
targets become unreachable, and are the same targets when it is heard of again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from memwatch_controller.errors import (
    AmbiguousTargetError,
    InvalidArgumentError,
    NotCapturableError,
    TargetEndedError,
    TargetNotFoundError,
    TargetUnreachableError,
    TooManyAgentsError,
)
from memwatch_controller.model import Agent, Millis, Selector, Target, TargetState, is_id
from memwatch_controller.rounds import rounds
from memwatch_controller.selection import candidate, describe, matches

#: Agents of one controller; 5,000 were measured to cost a fifth of a core.
MAX_AGENTS = 10_000

#: Targets of one agent; it sees one pod or one host.
MAX_TARGETS_OF_AGENT = 1_000

#: Targets of a fleet; see `sessions/plan.py`.
MAX_FLEET = 1_000

#: A target that ended is remembered this long, so that its sessions can be understood.
KEEP_GONE_MILLIS = 7 * 24 * 3600_000

#: A target that nobody reports is remembered this long: a pod that died with its agent never
#: says that it has ended, and a cluster makes thousands of those.
KEEP_UNREACHABLE_MILLIS = 30 * 24 * 3600_000

#: Changes are written this often, all in one transaction.
_FLUSH_SECONDS = 1.0

#: A stream is given up after this many silent intervals.
_SILENT_INTERVALS = 3

_log = structlog.get_logger()


class RegistryRows(Protocol):
    """Where agents and targets are kept; `store.metadata.Metadata` is one."""

    async def save_agents(self, agents: Iterable[Agent]) -> None:
        """Writes agents over their earlier rows."""

    async def save_targets(self, targets: Iterable[Target]) -> None:
        """Writes targets over their earlier rows."""

    async def load_agents(self) -> list[Agent]:
        """All agents."""

    async def load_targets(self) -> list[Target]:
        """All targets."""

    async def delete_targets(self, ids: Sequence[str]) -> None:
        """Forgets targets."""

    async def delete_agents(self, ids: Sequence[str]) -> None:
        """Forgets agents."""


@dataclass(eq=False)
class Link:
    """One agent's stream, as long as it is the newest of that agent.

    Attributes:
        agent_id: the agent.
        last_heard: when it last said something.
        replaced: whether the stream is to end, for a newer one or for its silence.
        on_replaced: called when that comes true.
    """

    agent_id: str
    last_heard: Millis
    replaced: bool = False
    on_replaced: Callable[[], object] = lambda: None

    def replace(self) -> None:
        """Ends the stream."""
        self.replaced = True
        self.on_replaced()


class Registry:
    """Agents and targets."""

    def __init__(
        self, rows: RegistryRows, now: Callable[[], Millis], heartbeat_millis: int
    ) -> None:
        self._rows = rows
        self._now = now
        self.heartbeat_millis = heartbeat_millis
        self._agents: dict[str, Agent] = {}
        self._targets: dict[str, Target] = {}
        self._of_agent: dict[str, set[str]] = {}
        self._links: dict[str, Link] = {}
        self._changed_agents: set[str] = set()
        self._changed_targets: set[str] = set()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._flushing = asyncio.Lock()

    # What agents say.

    async def load(self) -> None:
        """Takes up what was known; until an agent is heard of, its targets are unreachable."""
        for agent in await self._rows.load_agents():
            self._agents[agent.id] = agent
        for target in await self._rows.load_targets():
            known = target
            if target.state is TargetState.REACHABLE:
                owner = self._agents.get(target.agent_id)
                seen = owner.last_seen_time if owner is not None else self._now()
                known = replace(target, state=TargetState.UNREACHABLE, last_seen_time=seen)
            self._targets[target.id] = known
            self._of_agent.setdefault(target.agent_id, set()).add(target.id)

    def register(self, agent: Agent, targets: Sequence[Target]) -> Link:
        """An agent's first message; a stream of the same agent from before is replaced.

        Raises:
            InvalidArgumentError: an id is none, or there are too many targets.
            TooManyAgentsError: there are too many agents.
        """
        _check(agent, targets)
        if agent.id not in self._agents and len(self._agents) >= MAX_AGENTS:
            raise TooManyAgentsError(MAX_AGENTS)
        now = self._now()
        self._agents[agent.id] = replace(agent, last_seen_time=now)
        self._changed_agents.add(agent.id)
        earlier = self._links.get(agent.id)
        link = self._links[agent.id] = Link(agent.id, now)
        if earlier is not None:
            earlier.replace()
        self._report(agent.id, targets, now)
        _log.info("agent registered", agent=agent.id, address=agent.address, targets=len(targets))
        return link

    def heartbeat(self, link: Link, targets: Sequence[Target]) -> None:
        """A later message of an agent, with all its targets; nothing where it was replaced.

        Raises:
            InvalidArgumentError: an id is none, or there are too many targets.
        """
        agent = self._agents.get(link.agent_id)
        if agent is None or self._links.get(link.agent_id) is not link:
            return
        _check(agent, targets)
        now = link.last_heard = self._now()
        self._agents[agent.id] = replace(agent, last_seen_time=now)
        self._report(agent.id, targets, now)

    def disconnect(self, link: Link) -> None:
        """An agent's stream ended: its targets are unreachable, unless it has a newer stream."""
        if self._links.get(link.agent_id) is not link:
            return
        del self._links[link.agent_id]
        agent = self._agents.get(link.agent_id)
        if agent is not None:
            self._changed_agents.add(agent.id)
        for id in self._of_agent.get(link.agent_id, ()):
            if self._targets[id].state is TargetState.REACHABLE:
                self._put(replace(self._targets[id], state=TargetState.UNREACHABLE))
        _log.info("agent lost", agent=link.agent_id)

    def drop_silent(self) -> None:
        """Gives up the streams that were silent for three intervals."""
        silent_since = self._now() - _SILENT_INTERVALS * self.heartbeat_millis
        for link in [link for link in self._links.values() if link.last_heard < silent_since]:
            self.disconnect(link)
            link.replace()

    def _report(self, agent_id: str, targets: Sequence[Target], now: Millis) -> None:
        """Takes in all of an agent's targets; those not among them have ended."""
        mine = self._of_agent.setdefault(agent_id, set())
        reported = {target.id for target in targets}
        for target in targets:
            seen = replace(
                target, agent_id=agent_id, state=TargetState.REACHABLE, last_seen_time=now
            )
            earlier = self._targets.get(target.id)
            if earlier is not None and earlier.agent_id != agent_id:
                self._of_agent[earlier.agent_id].discard(target.id)
            mine.add(target.id)
            self._put(seen)
        for id in mine - reported:
            if self._targets[id].state is not TargetState.GONE:
                self._put(replace(self._targets[id], state=TargetState.GONE))

    def _put(self, target: Target) -> None:
        earlier = self._targets.get(target.id)
        self._targets[target.id] = target
        if earlier is None or _lasting(earlier) != _lasting(target):
            self._changed_targets.add(target.id)
        self._wake(target.id)

    def _wake(self, id: str) -> None:
        for event in self._watchers.get(id, ()):
            event.set()

    # What is asked.

    def targets(self) -> list[Target]:
        """All targets, by service and id."""
        return sorted(self._targets.values(), key=lambda target: (target.service, target.id))

    def agents(self) -> list[Agent]:
        """All agents, by id."""
        return sorted(self._agents.values(), key=lambda agent: agent.id)

    def connected(self) -> list[Agent]:
        """The agents that have a stream, by id."""
        return [agent for agent in self.agents() if agent.id in self._links]

    def connected_count(self) -> int:
        """How many agents have a stream."""
        return len(self._links)

    def get(self, id: str) -> Target:
        """One target.

        Raises:
            TargetNotFoundError: no target has that id.
        """
        if id not in self._targets:
            raise TargetNotFoundError(f"id '{id}'", len(self._targets))
        return self._targets[id]

    def find(self, selector: Selector, *, include_absent: bool) -> list[Target]:
        """The targets that match, by service and id."""
        found = [target for target in self.targets() if matches(selector, target)]
        return [t for t in found if include_absent or t.state is TargetState.REACHABLE]

    def pick(self, selector: Selector, *, fleet: bool) -> list[Target]:
        """The targets that are meant: one, or all that match where a fleet is allowed.

        Reachable targets are preferred to others, and capturable ones to those.

        Raises:
            TargetNotFoundError: none matches.
            AmbiguousTargetError: more than one matches, and no fleet is allowed.
            TargetUnreachableError, TargetEndedError, NotCapturableError: it matches, but is
                no use.
            InvalidArgumentError: a fleet would be too large.
        """
        check_known_here(selector)
        found = self.find(selector, include_absent=True)
        wanted = describe(selector)
        if not found:
            raise TargetNotFoundError(wanted, len(self._targets))
        usable = self.usable(found)
        if not fleet and len(usable) > 1:
            raise AmbiguousTargetError(wanted, [candidate(target) for target in usable])
        if len(usable) > MAX_FLEET:
            cause = f"{len(usable)} targets match, expected at most {MAX_FLEET}; narrow it down"
            raise InvalidArgumentError(f"choose a fleet with {wanted}", cause)
        return usable

    def usable(self, found: Sequence[Target]) -> list[Target]:
        """Those of some targets that can be captured; at least one, or the error of the best.

        Raises:
            TargetUnreachableError, TargetEndedError, NotCapturableError: none can.
        """
        reachable = [target for target in found if target.state is TargetState.REACHABLE]
        if capturable := [target for target in reachable if target.ways]:
            return capturable
        if reachable:
            first = reachable[0]
            raise NotCapturableError(first.id, first.service, first.unavailable_reason)
        for target in found:
            if target.state is TargetState.UNREACHABLE:
                cause = "nothing was heard of it lately"
                raise TargetUnreachableError(target.id, target.agent_id, cause)
        raise TargetEndedError(found[0].id)

    def address_of(self, target: Target) -> str:
        """Where to dial the agent of a target whose process may still live.

        Raises:
            TargetEndedError: its agent says that the process has ended.
            TargetUnreachableError: its agent is not known.
        """
        known = self._targets.get(target.id, target)
        if known.state is TargetState.GONE:
            raise TargetEndedError(target.id)
        address = self.agent_address(known.agent_id)
        if not address:
            raise TargetUnreachableError(target.id, known.agent_id, "it has never registered")
        return address

    def agent_address(self, agent_id: str) -> str:
        """Where to dial an agent; empty where it is not known."""
        agent = self._agents.get(agent_id)
        return agent.address if agent is not None else ""

    def replica_count(self, target: Target) -> int:
        """How many replicas of a target's service there are now, it included.

        Processes of one pod or container are one replica.
        """
        return len(
            {
                other.pod or other.container_id or other.id
                for other in self._targets.values()
                if other.state is TargetState.REACHABLE
                and (other.namespace, other.service) == (target.namespace, target.service)
            }
        )

    async def wait_for_report(self, id: str, seconds: float) -> bool:
        """Waits until a target is reported, changes or is forgotten; whether that came."""
        event = asyncio.Event()
        self._watchers.setdefault(id, set()).add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            self._watchers[id].discard(event)
            if not self._watchers[id]:
                del self._watchers[id]
        return True

    # What is kept.

    async def flush(self) -> None:
        """Writes down what has changed, in one go."""
        async with self._flushing:
            agents, self._changed_agents = self._changed_agents, set()
            targets, self._changed_targets = self._changed_targets, set()
            try:
                await self._rows.save_agents(
                    [self._agents[id] for id in agents if id in self._agents]
                )
                await self._rows.save_targets(
                    [_lasting(self._targets[id]) for id in targets if id in self._targets]
                )
            except BaseException:
                self._changed_agents |= agents
                self._changed_targets |= targets
                raise

    async def forget_old(self) -> None:
        """Forgets what ended or was not heard of long ago, and agents with nothing left."""
        now = self._now()
        old = [target.id for target in self._targets.values() if _is_old(target, now)]
        for id in old:
            target = self._targets.pop(id)
            mine = self._of_agent.get(target.agent_id, set())
            mine.discard(id)
            if not mine:
                self._of_agent.pop(target.agent_id, None)
            self._wake(id)
        bare = [
            agent.id
            for agent in self._agents.values()
            if agent.id not in self._links
            and not self._of_agent.get(agent.id)
            and agent.last_seen_time < now - KEEP_GONE_MILLIS
        ]
        for id in bare:
            del self._agents[id]
        if old or bare:
            await self._rows.delete_targets(old)
            await self._rows.delete_agents(bare)

    async def run(self) -> None:
        """Writes changes, gives up silent streams and forgets what is long gone, for ever."""
        await rounds("write the registry", self._round, _FLUSH_SECONDS)

    async def _round(self) -> None:
        self.drop_silent()
        await self.forget_old()
        await self.flush()


def check_known_here(selector: Selector) -> None:
    """Sees that agents' reports alone tell which targets a selector means; a pod's name does.

    Raises:
        InvalidArgumentError: only the cluster knows its pods.
    """
    if selector.workload is not None and selector.workload.kind != "pod":
        cause = "only a capture looks for the pods of a workload; name a pod, or a target's id"
        raise InvalidArgumentError(f"choose a target with {describe(selector)}", cause)


def _is_old(target: Target, now: Millis) -> bool:
    """Whether a target was last heard of so long ago that it is forgotten."""
    keep = {
        TargetState.GONE: KEEP_GONE_MILLIS,
        TargetState.UNREACHABLE: KEEP_UNREACHABLE_MILLIS,
    }
    return target.state in keep and target.last_seen_time < now - keep[target.state]


def _lasting(target: Target) -> Target:
    """What of a target is worth a write: not its sample, not when it was heard of."""
    still = target.last_seen_time if target.state is not TargetState.REACHABLE else 0
    return replace(target, memory=None, last_seen_time=still)


def _check(agent: Agent, targets: Sequence[Target]) -> None:
    doing = "take in what an agent says"
    bad = next((id for id in (agent.id, *(t.id for t in targets)) if not is_id(id)), None)
    if bad is not None:
        cause = f"{bad[:64]!r} is no id; see docs/decisions for what an id is"
        raise InvalidArgumentError(doing, cause)
    if len(targets) > MAX_TARGETS_OF_AGENT:
        cause = f"{len(targets)} targets, expected at most {MAX_TARGETS_OF_AGENT}"
        raise InvalidArgumentError(doing, cause)
