"""The use cases of profiles: start, stop, get, list, delete, report, clean up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from memwatch_controller import model
from memwatch_controller.errors import (
    ControllerError,
    InvalidArgumentError,
    NotFoundError,
    ProfileKindError,
    ProfileNotFinishedError,
    TooManyProfilesError,
)
from memwatch_controller.model import Millis
from memwatch_controller.profile import (
    KINDS_OF,
    Artifact,
    Profile,
    ProfileKind,
    ProfileOptions,
    ProfileOrigin,
    ProfileState,
)
from memwatch_controller.profiles.course import Course, check_announced, cleaned
from memwatch_controller.profiles.ports import Agents, ProfileRows, Targets
from memwatch_controller.profiles.reporting import Rendered, Reporter, ReportOrder
from memwatch_controller.profiles.states import FINISHED, is_finished
from memwatch_controller.rounds import rounds
from memwatch_controller.store.blobs import BlobStore, blob_key

#: Profiles that are open at once: each is a task, a row and perhaps a connection.
MAX_OPEN = 500

_RETRY_AFTER_SECONDS = 30.0

MAX_DURATION_MILLIS = 3_600_000
MAX_FRAMES = 128
MIN_SIZE_BYTES, MAX_SIZE_BYTES = 65_536, 1 << 34

#: Where a kind's default is not 30 s.
_DEFAULT_MILLIS = {ProfileKind.TYPES: 0}

#: Where a kind's default is not 16 frames; 0: the kind has no such option, which V8 decides.
_DEFAULT_FRAMES = {
    ProfileKind.SAMPLING: MAX_FRAMES,
    ProfileKind.NODE_ALLOCATIONS: 0,
    ProfileKind.STATS: 0,
}

#: How a request that a service sampled by itself begins; see the agent.
SAMPLED_PREFIX = "sampled."

_PAGE = 100
DAY_MILLIS = 24 * 3600 * 1000

#: How often old profiles are looked for.
_TIDY_SECONDS = 3600.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a clean-up deleted, or would."""

    profile_ids: tuple[str, ...]
    freed_bytes: int


class Profiles:
    """Use cases of profiles; belongs to one loop."""

    def __init__(
        self,
        *,
        rows: ProfileRows,
        blobs: BlobStore,
        agents: Agents,
        targets: Targets,
        course: Course,
        reporter: Reporter,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        keep_millis: int,
    ) -> None:
        """`keep_millis`: older profiles are deleted by themselves; 0: never."""
        self._rows = rows
        self._blobs = blobs
        self._agents = agents
        self._targets = targets
        self._course = course
        self._reporter = reporter
        self._now = now
        self._new_id = new_id
        self._keep_millis = keep_millis
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def load(self) -> None:
        """Takes up every profile that an earlier life left open."""
        for profile in await self._open():
            self._take_up(profile.id)

    async def close(self) -> None:
        """Leaves open profiles for the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self) -> None:
        """Deletes old profiles, for ever."""
        await rounds("delete old profiles", self._tidy, _TIDY_SECONDS)

    async def _tidy(self) -> None:
        if self._keep_millis:
            await self.clean_up(self._keep_millis, dry_run=False)

    async def start(
        self,
        request_id: str,
        selector: model.Selector,
        kind: ProfileKind,
        options: ProfileOptions,
        *,
        force: bool = False,
    ) -> Profile:
        """Starts a profile; the one that this request id made before, where there is one.

        Raises:
            ControllerError: the options are impossible, there is no such target, its runtime has
                no such kind, or too many profiles are open.
        """
        known = await self._rows.find_by_request(request_id)
        if known is None:
            checked_options(options, kind)
            [target] = self._targets.pick(selector, fleet=False)
            if kind not in KINDS_OF.get(target.runtime, ()):
                kinds = KINDS_OF.get(target.runtime, ())
                raise ProfileKindError(kind, target.runtime, kinds)
            if len(self._tasks) >= MAX_OPEN:
                raise TooManyProfilesError(MAX_OPEN, _RETRY_AFTER_SECONDS)
            await self._targets.flush()
            now = self._now()
            known = await self._rows.insert(
                Profile(
                    id=self._new_id(),
                    request_id=request_id,
                    target=target,
                    kind=kind,
                    options=options,
                    force=force,
                    create_time=now,
                    update_time=now,
                )
            )
            _log.info("profile started", profile=known.id, kind=kind, target=target.id)
        if not is_finished(known.state):
            self._take_up(known.id)
        return known

    async def stop(self, id: str) -> Profile:
        """Ends a recording before its time; a finished one is returned as it is.

        Raises:
            NotFoundError: there is none.
        """

        def change(profile: Profile) -> Profile | None:
            done = is_finished(profile.state) or profile.stop_requested
            return None if done else replace(profile, stop_requested=True, update_time=self._now())

        changed = await self._rows.change(id, change)
        if changed is None:
            raise NotFoundError("profile", id)
        if changed.state is ProfileState.RECORDING:
            await self._tell_to_stop(changed)
        return changed

    async def get(self, id: str) -> Profile:
        """One profile.

        Raises:
            NotFoundError: there is none.
        """
        found = await self._rows.get(id)
        if found is None:
            raise NotFoundError("profile", id)
        return found

    async def list(
        self,
        *,
        states: Sequence[ProfileState] = (),
        service: str = "",
        target_id: str = "",
        kind: ProfileKind | None = None,
        limit: int,
        after: tuple[Millis, str] | None = None,
    ) -> Sequence[Profile]:
        """Profiles, the newest first."""
        return await self._rows.list(
            states=states, service=service, target_id=target_id, kind=kind, limit=limit, after=after
        )

    async def delete(self, id: str) -> None:
        """Deletes a finished profile with its artifact; none is no error.

        Raises:
            ProfileNotFinishedError: it is not finished.
        """
        profile = await self._rows.get(id)
        if profile is None:
            return
        if not is_finished(profile.state):
            raise ProfileNotFinishedError("delete", id, profile.state)
        if profile.artifact is not None:  # the blob first: after a crash the row is there again
            await self._blobs.delete(blob_key(profile.artifact.id, profile.artifact.stored_sha256))
            if profile.state is not ProfileState.SUCCEEDED:
                await self._discard(profile.target.agent_id, profile.artifact.id)
        await self._rows.delete(id)
        _log.info("profile deleted", profile=id)

    async def clean_up(self, older_than_millis: int, *, dry_run: bool) -> Cleaned:
        """Deletes finished profiles of an age; 0: the age at which they go by themselves."""
        age = older_than_millis or self._keep_millis or 7 * DAY_MILLIS
        before, ids, freed = self._now() - age, [], 0
        after: tuple[Millis, str] | None = None
        while found := await self._rows.list(
            states=FINISHED, created_before=before, limit=_PAGE, after=after
        ):
            for profile in found:
                if not dry_run:
                    await self.delete(profile.id)
                ids.append(profile.id)
                freed += profile.artifact.stored_size_bytes if profile.artifact else 0
            after = (found[-1].create_time, found[-1].id)
        return Cleaned(tuple(ids), freed)

    @contextlib.asynccontextmanager
    async def report(self, id: str, order: ReportOrder) -> AsyncIterator[Rendered]:
        """A report of a finished profile, as a file that is there for the block.

        Raises:
            NotFoundError, ProfileNotFinishedError: there is no artifact.
            InvalidArgumentError: there is no such report, or none with such a base.
            AnalysisError: it could not be made.
        """
        profile = await self._with_artifact(id)
        base = await self._with_artifact(order.base_id) if order.base_id else None
        if base is not None and base.kind is not profile.kind:
            cause = f"profile '{base.id}' is of kind '{base.kind}', the other of '{profile.kind}'"
            raise InvalidArgumentError("compare profiles", cause)
        async with self._reporter.rendered(profile, base, order) as rendered:
            yield rendered

    async def take_in(self, agent_id: str, address: str, artifacts: Sequence[Artifact]) -> None:
        """Frees an agent of profiles that are safe here, and brings in what services sampled."""
        for artifact in artifacts:
            try:
                await self._take_in_one(agent_id, address, artifact)
            except ControllerError as error:
                _log.warning("artifact not taken in", artifact=artifact.id, cause=str(error))

    async def _take_in_one(self, agent_id: str, address: str, artifact: Artifact) -> None:
        known = await self._rows.find_by_request(artifact.request_id)
        if known is None and artifact.request_id.startswith(SAMPLED_PREFIX):
            await self._insert_sampled(agent_id, artifact)
        elif known is not None and known.artifact is not None:
            same = known.artifact.stored_sha256 == artifact.stored_sha256
            if known.state is ProfileState.SUCCEEDED and same:
                await self._agents.discard(address, artifact.id)
        elif known is not None and is_finished(known.state):  # given up before it was there
            await self._agents.discard(address, artifact.id)

    async def _insert_sampled(self, agent_id: str, artifact: Artifact) -> None:
        if artifact.kind is None:
            return
        target = self._target(artifact.target_id) or model.Target(
            id=artifact.target_id, agent_id=agent_id
        )
        near_limit = artifact.kind is ProfileKind.NEAR_LIMIT
        now = self._now()
        profile = Profile(
            id=self._new_id(),
            request_id=artifact.request_id,
            target=target,
            kind=artifact.kind,
            options=ProfileOptions(duration_millis=0),
            state=ProfileState.STORING,
            origin=ProfileOrigin.NEAR_LIMIT if near_limit else ProfileOrigin.REQUEST,
            create_time=now,
            update_time=now,
            start_time=artifact.start_time,
            artifact=cleaned(artifact),
        )
        check_announced(artifact, profile)
        self._take_up((await self._rows.insert(profile)).id)

    def _target(self, id: str) -> model.Target | None:
        try:
            return self._targets.get(id)  # one that has ended too
        except ControllerError:
            return None

    async def _open(self) -> Sequence[Profile]:
        states = [state for state in ProfileState if not is_finished(state)]
        return await self._rows.list(states=states, limit=10 * MAX_OPEN)

    async def _with_artifact(self, id: str) -> Profile:
        profile = await self.get(id)
        if profile.state is not ProfileState.SUCCEEDED or profile.artifact is None:
            raise ProfileNotFinishedError("report on", id, profile.state)
        return profile

    def _take_up(self, id: str) -> None:
        if id not in self._tasks:
            task = asyncio.create_task(self._course.run(id), name=f"profile {id}")
            self._tasks[id] = task
            task.add_done_callback(lambda _: self._tasks.pop(id, None))

    async def _tell_to_stop(self, profile: Profile) -> None:
        """Now, where the agent can be reached; else its course tells it when it can."""
        try:
            address = self._targets.address_of(profile.target)
            await self._agents.stop_recording(address, profile.request_id)
        except ControllerError as error:
            _log.info("told to stop later", profile=profile.id, cause=str(error))

    async def _discard(self, agent_id: str, artifact_id: str) -> None:
        address = self._targets.agent_address(agent_id)
        try:
            if address:
                await self._agents.discard(address, artifact_id)
        except ControllerError as error:
            _log.warning("artifact left with its agent", artifact=artifact_id, cause=str(error))


def checked_options(options: ProfileOptions, kind: ProfileKind) -> None:
    """Refuses options that no agent would take.

    Raises:
        InvalidArgumentError: names the one, with both numbers.
    """
    most_frames = MAX_FRAMES if _DEFAULT_FRAMES.get(kind, 1) else 0
    for name, value, least, most in (
        ("duration_millis", options.duration_millis, 0, MAX_DURATION_MILLIS),
        ("frames", options.frames, min(1, most_frames), most_frames),
        ("max_size_bytes", options.max_size_bytes, MIN_SIZE_BYTES, MAX_SIZE_BYTES),
        ("sampling_interval_bytes", options.sampling_interval_bytes, 1, 1 << 31),
    ):
        if not least <= value <= most:
            cause = f"'{name}' of kind '{kind}' is {value}, expected {least} to {most}"
            raise InvalidArgumentError("start a profile", cause)


def usual_options(kind: ProfileKind) -> ProfileOptions:
    """How a kind records where nobody says."""
    usual = ProfileOptions()
    return replace(
        usual,
        duration_millis=_DEFAULT_MILLIS.get(kind, usual.duration_millis),
        frames=_DEFAULT_FRAMES.get(kind, usual.frames),
    )
