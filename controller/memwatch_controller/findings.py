"""What stands, told by the agents at each heartbeat, and what came of it.

An agent says all of its findings each time: one that it no longer says is over, and so is one
whose process has ended. What a silent agent had said stands until it is heard of again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from memwatch_controller.errors import InvalidArgumentError, NotFoundError
from memwatch_controller.finding import Finding, FindingType, Severity, is_news
from memwatch_controller.model import Millis, Selector, Target, TargetState, is_id
from memwatch_controller.rounds import rounds

#: Findings of one agent; it tells no more.
MAX_OF_AGENT = 200

#: A finding that goes on unchanged is written down this often.
_WRITE_MILLIS = 300_000

#: Findings that are over are kept this long.
KEEP_MILLIS = 90 * 24 * 3600_000
_TIDY_SECONDS = 3600.0
_FLUSH_SECONDS = 1.0

#: Changes kept for one watcher; a slower one loses the oldest.
_MAX_QUEUED = 256


class FindingRows(Protocol):
    """Where findings are kept; `store.findings.FindingTable` is one."""

    async def save(self, findings: Sequence[Finding]) -> None:
        """Writes findings over their earlier rows."""

    async def get(self, id: str) -> Finding | None:
        """One finding."""

    async def standing(self) -> list[Finding]:
        """Those that are not over."""

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
    ) -> list[Finding]:
        """Findings, the worst first."""

    async def forget(self, ended_before: Millis) -> int:
        """Deletes old ones."""


class Targets(Protocol):
    """The targets that are known; `registry.Registry` is one."""

    def targets(self) -> list[Target]:
        """All of them."""

    def find(self, selector: Selector, *, include_absent: bool) -> list[Target]:
        """Those that match."""

    def replica_count(self, target: Target) -> int:
        """How many replicas a target's service has."""


class Findings:
    """The findings of all agents; belongs to one loop."""

    def __init__(self, rows: FindingRows, targets: Targets, now: Callable[[], Millis]) -> None:
        self._rows = rows
        self._targets = targets
        self._now = now
        self._standing: dict[str, Finding] = {}
        self._written: dict[str, Millis] = {}
        self._unwritten: dict[str, Finding] = {}
        self._watchers: set[asyncio.Queue[Finding]] = set()
        self._flushing = asyncio.Lock()

    async def load(self) -> None:
        """Takes up what stood."""
        self._standing = {finding.id: finding for finding in await self._rows.standing()}

    async def run(self) -> None:
        """Writes what is new, ends what its process has not survived, forgets what is old."""
        await asyncio.gather(
            rounds("write findings", self.flush, _FLUSH_SECONDS),
            rounds("look after findings", self._tidy, _TIDY_SECONDS),
        )

    async def _tidy(self) -> None:
        self._end_orphans()
        await self.flush()
        await self._rows.forget(self._now() - KEEP_MILLIS)

    async def flush(self) -> None:
        """Writes down what is news; what cannot be written now is written later."""
        async with self._flushing:
            unwritten, self._unwritten = self._unwritten, {}
            try:
                await self._rows.save(list(unwritten.values()))
            except BaseException:
                self._unwritten = {**unwritten, **self._unwritten}
                raise

    def report(self, agent_id: str, told: Sequence[Finding]) -> None:
        """All that an agent sees now; held in memory, so that no heartbeat waits for a database.

        Raises:
            InvalidArgumentError: there are too many, or an id is none.
        """
        _check(agent_id, told)
        now = self._now()
        known = {target.id: target for target in self._targets.targets()} if told else {}
        seen = [self._taken(one, agent_id, known.get(one.target_id)) for one in told]
        said = {one.id for one in told}
        over = [
            replace(one, end_time=now)
            for one in self._standing.values()
            if one.agent_id == agent_id and one.id not in said
        ]
        self._keep([*seen, *over])

    def _taken(self, told: Finding, agent_id: str, target: Target | None) -> Finding:
        """A finding as it is kept: with what is known of its target, and who acknowledged it."""
        earlier = self._standing.get(told.id)
        kept = replace(told, agent_id=agent_id)
        if target is not None:
            kept = replace(kept, service=target.service, namespace=target.namespace, pod=target.pod)
        if earlier is not None:
            kept = replace(
                kept,
                acknowledged_by=earlier.acknowledged_by,
                acknowledged_time=earlier.acknowledged_time,
            )
        return kept

    def _keep(self, findings: Iterable[Finding]) -> None:
        """Takes findings in, tells who watches; what is news, or long not written, is to be."""
        now = self._now()
        for finding in findings:
            news = is_news(self._standing.get(finding.id), finding)
            if finding.stands:
                self._standing[finding.id] = finding
            else:
                self._standing.pop(finding.id, None)
            if news:
                self._tell(finding)
            if news or now - self._written.get(finding.id, 0) >= _WRITE_MILLIS:
                self._written[finding.id] = now
                self._unwritten[finding.id] = finding
        self._written = {id: at for id, at in self._written.items() if id in self._standing}

    def _tell(self, finding: Finding) -> None:
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(finding)

    def _end_orphans(self) -> None:
        """Ends the findings of processes that are known to have ended, or are forgotten."""
        living = {t.id for t in self._targets.targets() if t.state is not TargetState.GONE}
        now = self._now()
        gone = [one for one in self._standing.values() if one.target_id not in living]
        self._keep([replace(one, end_time=now) for one in gone])

    # What is asked.

    async def get(self, id: str) -> Finding:
        """One finding.

        Raises:
            NotFoundError: there is none.
        """
        known = self._standing.get(id) or self._unwritten.get(id)
        found = known or await self._rows.get(id)
        if found is None:
            raise NotFoundError("finding", id)
        return found

    async def list(
        self,
        selector: Selector,
        *,
        kind: FindingType | None,
        min_severity: Severity,
        include_over: bool,
        unacknowledged_only: bool,
        limit: int,
        after: tuple[int, str] | None,
    ) -> list[Finding]:
        """Findings, the worst first, then the newest."""
        await self.flush()
        target_ids = None
        if selector != Selector():
            matching = self._targets.find(selector, include_absent=True)
            target_ids = [target.id for target in matching]
        found = await self._rows.list(
            target_ids=target_ids,
            kind=kind,
            min_severity=min_severity,
            include_over=include_over,
            unacknowledged_only=unacknowledged_only,
            limit=limit,
            after=after,
        )
        return [self._standing.get(one.id, one) for one in found]

    def standing(self) -> Sequence[Finding]:
        """Those that stand, the worst first."""
        return sorted(self._standing.values(), key=lambda one: (-one.rank, one.id))

    def agreement(self, finding: Finding) -> tuple[int, int]:
        """How many replicas of the service are seen the same way now, and how many there are."""
        kin = {
            other.pod or other.target_id
            for other in self._standing.values()
            if (other.type, other.namespace, other.service, other.subject)
            == (finding.type, finding.namespace, finding.service, finding.subject)
        }
        target = Target(id=finding.target_id, service=finding.service, namespace=finding.namespace)
        return len(kin), max(len(kin), self._targets.replica_count(target))

    async def acknowledge(self, id: str, by: str) -> Finding:
        """Says that somebody knows.

        Raises:
            NotFoundError: there is no such finding.
        """
        finding = await self.get(id)
        known = replace(finding, acknowledged_by=by, acknowledged_time=self._now())
        self._keep([known])
        await self.flush()
        return known

    async def watch(self) -> AsyncIterator[Finding]:
        """What stands now, then whatever changes, for as long as it is asked for."""
        queue: asyncio.Queue[Finding] = asyncio.Queue(_MAX_QUEUED)
        self._watchers.add(queue)
        try:
            for finding in self.standing():
                yield finding
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)


def _check(agent_id: str, told: Sequence[Finding]) -> None:
    doing = f"take in the findings of agent '{agent_id}'"
    if len(told) > MAX_OF_AGENT:
        cause = f"it tells {len(told)} findings, expected at most {MAX_OF_AGENT}"
        raise InvalidArgumentError(doing, cause)
    for one in told:
        if not is_id(one.id) or not is_id(one.target_id):
            raise InvalidArgumentError(doing, f"'{one.id[:80]}' is no id")
