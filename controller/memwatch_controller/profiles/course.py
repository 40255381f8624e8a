"""One profile's way from PENDING to its end, fit to be begun again after a crash at any instant.

What it finds in the record says where to go on. The recording itself goes on in the target
without us and ends by itself; its artifact waits in the agent's spool until it is safe here. So
a restart only asks again by the same request id.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import structlog

from memwatch_controller.errors import AgentError, ControllerError, DigestMismatchError
from memwatch_controller.model import Millis
from memwatch_controller.profile import (
    Artifact,
    Profile,
    ProfileError,
    ProfileState,
    Recording,
    RecordOrder,
)
from memwatch_controller.profiles.ports import Agents, Places, ProfileRows, Targets
from memwatch_controller.profiles.states import Event, is_finished, next_state
from memwatch_controller.snapshots import transfer
from memwatch_controller.snapshots.names import safe_name
from memwatch_controller.store.blobs import BlobStore, blob_key
from memwatch_controller.store.intake import Facts

#: How long an agent that does not answer, and a process that is busy, is asked again.
UNREACHABLE_MILLIS = 5 * 60_000
BUSY_MILLIS = 30 * 60_000

_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 10.0

#: What an agent may take beyond a recording's duration: its own limit and the way.
_MARGIN_SECONDS = 720.0

#: The largest artifact that is taken in, before compression and after.
_MAX_BYTES = 1 << 34

_log = structlog.get_logger()


class Course:
    """Takes profiles to their end."""

    def __init__(
        self,
        rows: ProfileRows,
        blobs: BlobStore,
        agents: Agents,
        targets: Targets,
        places: Places,
        now: Callable[[], Millis],
        patience: transfer.Patience,
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._agents = agents
        self._targets = targets
        self._places = places
        self._now = now
        self._patience = patience

    async def run(self, id: str) -> None:
        """Takes one profile to its end. Never raises but when it is cancelled."""
        with structlog.contextvars.bound_contextvars(profile=id):
            try:
                await self._run(id)
            except ControllerError as error:
                await self._fail(id, error.reason, str(error))
            except Exception as error:  # noqa: BLE001  outermost of a task: fails its profile only
                _log.exception("profile failed by a fault")
                first_line = str(error).partition("\n")[0][:200]
                text = f"a fault in memwatch ({type(error).__name__}: {first_line})"
                await self._fail(id, "INTERNAL", f"{text}; see the controller's log")

    async def _run(self, id: str) -> None:
        profile = await self._rows.get(id)
        if profile is None or is_finished(profile.state):
            return
        if profile.state is ProfileState.PENDING:
            target = profile.target
            place = self._places.recording(
                target.service, lambda: self._targets.replica_count(target)
            )
            async with place:
                profile = await self._recorded(profile)
        elif profile.state is ProfileState.RECORDING:  # begun before a restart: it holds its place
            profile = await self._recorded(profile)
        if profile is not None and profile.state is ProfileState.STORING:
            await self._store(profile)

    async def _recorded(self, profile: Profile) -> Profile | None:
        """The profile once its agent has the artifact; None where it was cancelled or deleted."""
        artifact = await self._persist(profile)
        if artifact is None:
            return None
        check_announced(artifact, profile)
        return await self._advance(profile.id, Event.RECORDED, artifact=cleaned(artifact))

    async def _persist(self, profile: Profile) -> Artifact | None:
        """Asks for the recording until it is there, while that makes sense."""
        failing_since, pause = 0, _FIRST_PAUSE_SECONDS
        while True:
            current = await self._rows.get(profile.id)
            if current is None or is_finished(current.state):
                return None
            try:
                return await self._record(current)
            except ControllerError as error:
                failing_since = failing_since or self._now()
                retry = getattr(error, "retry_after_seconds", None)
                if not error.transient and retry is None:
                    raise
                if self._now() - failing_since >= (
                    UNREACHABLE_MILLIS if not retry else BUSY_MILLIS
                ):
                    raise
                _log.info("tried in vain, trying again", cause=str(error))
            await asyncio.sleep(min(retry or pause, _MAX_PAUSE_SECONDS))
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def _record(self, profile: Profile) -> Artifact | None:
        """One try: follows the recording to its end."""
        begun = profile.state is ProfileState.RECORDING
        if not begun and profile.stop_requested:
            await self._advance(profile.id, Event.CANCEL)
            return None
        address = self._targets.address_of(profile.target)
        order = RecordOrder(
            request_id=profile.request_id,
            target_id=profile.target.id,
            kind=profile.kind,
            options=profile.options,
            force=profile.force,
            join_only=begun,
        )
        if begun and profile.stop_requested:
            await self._agents.stop_recording(address, profile.request_id)
        seconds = profile.options.duration_millis / 1000 + _MARGIN_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(profile, address, order)
        except TimeoutError as error:
            raise AgentError(
                "DEADLINE_EXCEEDED",
                "DEADLINE_EXCEEDED",
                f"cannot record target '{profile.target.id}': its agent was not done after "
                f"{seconds:.0f} s; look into the agent's log",
            ) from error

    async def _follow(self, profile: Profile, address: str, order: RecordOrder) -> Artifact:
        begun = order.join_only
        async with aclosing(self._agents.record(address, order)) as told:
            async for event in told:
                if isinstance(event, Artifact):
                    return event
                if isinstance(event, Recording) and event.start_time and not begun:
                    begun = True
                    changed = await self._advance(
                        profile.id, Event.BEGIN, start_time=event.start_time
                    )
                    if changed is not None and changed.stop_requested:
                        await self._agents.stop_recording(address, order.request_id)
        raise AgentError(
            "UNAVAILABLE", "UNAVAILABLE", "cannot go on: the agent ended its events", transient=True
        )

    async def _store(self, profile: Profile) -> None:
        """Brings the artifact into the store, then lets the agent drop it."""
        artifact = profile.artifact
        assert artifact is not None
        address = self._targets.agent_address(profile.target.agent_id)
        key = blob_key(artifact.id, artifact.stored_sha256)
        if await self._blobs.size(key) != artifact.stored_size_bytes:
            await self._pull(address, artifact, key)
        await self._advance(profile.id, Event.STORED)
        try:
            await self._agents.discard(address, artifact.id)
        except AgentError as error:  # it is told when it connects again
            _log.warning("artifact not discarded", artifact=artifact.id, cause=str(error))

    async def _pull(self, address: str, artifact: Artifact, key: str) -> None:
        what = f"profile artifact '{artifact.id}'"
        async with self._blobs.begin(
            what,
            incoming_limit=artifact.stored_size_bytes,
            raw_limit=artifact.raw_size_bytes,
        ) as part:
            await transfer.pull(self._agents, address, artifact, part, self._patience)
            announced = Facts(
                artifact.raw_size_bytes,
                artifact.raw_sha256,
                artifact.stored_size_bytes,
                artifact.stored_sha256,
            )
            came = await part.close()
            if came != announced:
                raise DigestMismatchError(what, str(came), str(announced))
            await self._blobs.commit(part, key)

    async def _advance(self, id: str, event: Event, **facts: object) -> Profile | None:
        """Applies an event, unless the profile was finished meanwhile."""

        def change(profile: Profile) -> Profile | None:
            if is_finished(profile.state):
                return None
            state = next_state(profile.state, event)
            return replace(profile, state=state, update_time=self._now(), **facts)  # type: ignore[arg-type]

        changed = await self._rows.change(id, change)
        _log.info("profile changed", by=str(event), state=changed.state if changed else "gone")
        return changed

    async def _fail(self, id: str, reason: str, message: str) -> None:
        _log.warning("profile failed", reason=reason, cause=message)
        await self._advance(id, Event.FAIL, error=ProfileError(reason, message))


def check_announced(artifact: Artifact, profile: Profile) -> None:
    """Refuses an answer that is not one to this order; names from outside were cleaned.

    Raises:
        DigestMismatchError: another request or target, or figures that cannot be.
    """
    what = f"the artifact of profile '{profile.id}'"
    if (artifact.request_id, artifact.target_id) != (profile.request_id, profile.target.id):
        raise DigestMismatchError(what, f"request {artifact.request_id!r}", profile.request_id)
    for digest in (artifact.raw_sha256, artifact.stored_sha256):
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise DigestMismatchError(what, f"digest {digest[:80]!r}", "64 hex digits")
    for size in (artifact.raw_size_bytes, artifact.stored_size_bytes):
        if not 0 < size <= _MAX_BYTES:
            raise DigestMismatchError(what, f"{size} bytes", f"between 1 and {_MAX_BYTES} bytes")


def cleaned(artifact: Artifact) -> Artifact:
    """An artifact whose words from outside are safe to show and to save under."""
    return replace(
        artifact,
        file_name=safe_name(artifact.file_name),
        notes=tuple("".join(c for c in note if c.isprintable())[:300] for note in artifact.notes),
        content_type="".join(c for c in artifact.content_type if c.isprintable())[:100],
    )
