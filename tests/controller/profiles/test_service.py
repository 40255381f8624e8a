"""Profiles from start to end, through kills of the controller, restarts of agents, and refusals."""

import asyncio
from dataclasses import replace

import grpc
import pytest

from memwatch_controller import model
from memwatch_controller.errors import (
    InvalidArgumentError,
    NotFoundError,
    ProfileKindError,
    ProfileNotFinishedError,
    TooManyProfilesError,
)
from memwatch_controller.profile import (
    Artifact,
    ProfileKind,
    ProfileOptions,
    ProfileOrigin,
    ProfileState,
)
from memwatch_controller.profiles import service as module
from memwatch_proto.status import Failure, Reason

OPTIONS = ProfileOptions(duration_millis=0)
SELECTOR = model.Selector(name="shop")


async def started(profiles, request_id="r-1", **options):
    given = replace(OPTIONS, **options)
    return await profiles.start(request_id, SELECTOR, ProfileKind.TYPES, given)


async def until(profiles, id, *states):
    """The profile once it is in one of these states."""
    async with asyncio.timeout(20):
        while True:
            found = await profiles.get(id)
            if found.state in states:
                return found
            await asyncio.sleep(0.02)


async def test_a_profile_is_recorded_stored_and_discarded(stage):
    """Its artifact lies in the store with both digests, and the agent is free of it."""
    async with stage.life() as profiles:
        profile = await started(profiles)
        done = await until(profiles, profile.id, ProfileState.SUCCEEDED)

        assert (await started(profiles)).id == profile.id
        assert done.artifact is not None
        assert done.artifact.raw_size_bytes == len(stage.agent.raw)
        assert done.artifact.stop_time >= done.artifact.start_time > 0
        assert stage.agent.captures == ["r-1"]
        await asyncio.wait_for(stage.agent.freed.wait(), 5)
        assert stage.agent.spool == {}
        assert await profiles.list(service="shop", kind=ProfileKind.TYPES, limit=5) == [done]
        assert await profiles.list(service="other", limit=5) == []


async def test_a_kill_while_it_records_loses_nothing(stage):
    """The next life joins the recording by its request id, and begins nothing."""
    stage.agent.hold = asyncio.Event()
    async with stage.life() as profiles:
        profile = await started(profiles)
        await until(profiles, profile.id, ProfileState.RECORDING)
    async with stage.life() as profiles:
        await asyncio.sleep(0.1)
        stage.agent.hold.set()
        await until(profiles, profile.id, ProfileState.SUCCEEDED)
    assert stage.agent.captures == ["r-1"]
    assert stage.agent.calls[:2] == ["RecordProfile", "RecordProfile+"]


async def test_a_recording_that_ended_meanwhile_is_found(stage):
    """The controller was away: the artifact waited in the agent's spool."""
    stage.agent.hold = asyncio.Event()
    async with stage.life() as profiles:
        profile = await started(profiles)
        await until(profiles, profile.id, ProfileState.RECORDING)
    stage.agent.hold.set()
    async with stage.life() as profiles:
        assert (await until(profiles, profile.id, ProfileState.SUCCEEDED)).artifact


async def test_a_recording_that_the_agent_lost_fails(stage):
    """An agent that was restarted knows nothing of it: nothing is recorded a second time."""
    stage.agent.hold = asyncio.Event()
    async with stage.life() as profiles:
        profile = await started(profiles)
        await until(profiles, profile.id, ProfileState.RECORDING)
    stage.agent.forgets = True
    async with stage.life() as profiles:
        failed = await until(profiles, profile.id, ProfileState.FAILED)
    assert failed.error.reason == Reason.PROFILE_LOST
    assert stage.agent.captures == []


async def test_stopping_keeps_what_was_recorded(stage):
    """The agent is told, and the profile succeeds early; stopping twice is no error."""
    stage.agent.hold = asyncio.Event()
    async with stage.life() as profiles:
        profile = await started(profiles, duration_millis=600_000)
        await until(profiles, profile.id, ProfileState.RECORDING)
        stopped = await profiles.stop(profile.id)
        assert stopped.stop_requested
        done = await until(profiles, profile.id, ProfileState.SUCCEEDED)
        assert (await profiles.stop(profile.id)) == done
    assert "r-1" in stage.agent.stops


async def test_one_that_has_not_begun_is_cancelled(stage):
    """Its agent is away: there is nothing to keep."""
    address, stage.targets.address = stage.targets.address, ""
    async with stage.life() as profiles:
        profile = await started(profiles)
        await profiles.stop(profile.id)
        await until(profiles, profile.id, ProfileState.CANCELLED)
    stage.targets.address = address
    assert stage.agent.calls == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, Reason.PROFILER_MISSING),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.PROFILE_KIND_UNSUPPORTED),
        (grpc.StatusCode.FAILED_PRECONDITION, Reason.HEADROOM),
    ],
)
async def test_what_the_agent_refuses_fails_the_profile(stage, code, reason):
    """With the agent's own reason and sentence."""
    stage.agent.failure = Failure(code, reason, "cannot record process 7: so it is")
    async with stage.life() as profiles:
        profile = await started(profiles)
        failed = await until(profiles, profile.id, ProfileState.FAILED)
        assert (failed.error.reason, failed.error.message) == (
            reason,
            "cannot record process 7: so it is",
        )
        await profiles.delete(profile.id)
        with pytest.raises(NotFoundError):
            await profiles.get(profile.id)


async def test_a_lie_about_the_artifact_fails_the_profile(stage):
    """Another digest than announced: nothing is stored."""

    def lie(snapshot):
        snapshot.raw_sha256 = "0" * 64

    stage.agent.announce = lie
    async with stage.life() as profiles:
        profile = await started(profiles)
        failed = await until(profiles, profile.id, ProfileState.FAILED)
        assert failed.error.reason == Reason.DIGEST_MISMATCH
        assert stage.agent.discarded == []


async def test_what_cannot_be_started_is_refused(stage, monkeypatch):
    """A kind of another runtime, impossible options, too many at once."""
    stage.agent.hold = asyncio.Event()
    async with stage.life() as profiles:
        with pytest.raises(ProfileKindError, match="types or allocations or native"):
            await profiles.start("r-2", SELECTOR, ProfileKind.SAMPLING, OPTIONS)
        with pytest.raises(InvalidArgumentError, match="duration_millis"):
            await started(profiles, duration_millis=3_600_001)
        with pytest.raises(InvalidArgumentError, match="frames"):
            await started(profiles, frames=129)
        with pytest.raises(InvalidArgumentError, match="'frames' of kind 'stats' is 8, expected 0"):
            module.checked_options(ProfileOptions(frames=8), ProfileKind.STATS)
        monkeypatch.setattr(module, "MAX_OPEN", 1)
        await started(profiles)
        with pytest.raises(TooManyProfilesError):
            await started(profiles, "r-3")


async def test_an_open_profile_is_not_deleted(stage):
    """It is to be stopped first; an unknown one is no error."""
    stage.agent.hold = asyncio.Event()
    async with stage.life() as profiles:
        profile = await started(profiles)
        await until(profiles, profile.id, ProfileState.RECORDING)
        with pytest.raises(ProfileNotFinishedError):
            await profiles.delete(profile.id)
        await profiles.delete("p-unknown")


async def test_clean_up_deletes_by_age_and_says_which(stage):
    """Seven days where nobody says; a dry run deletes nothing; open ones stay."""
    async with stage.life() as profiles:
        profile = await started(profiles)
        done = await until(profiles, profile.id, ProfileState.SUCCEEDED)
        assert (await profiles.clean_up(0, dry_run=False)).profile_ids == ()
        stage.now += 8 * 24 * 3600 * 1000
        stage.agent.hold = asyncio.Event()
        await started(profiles, "r-young")
        would = await profiles.clean_up(0, dry_run=True)
        assert await profiles.clean_up(0, dry_run=False) == would
        assert would.profile_ids == (profile.id,)
        assert would.freed_bytes == done.artifact.stored_size_bytes
        assert not list((stage.folder / "blobs" / "snapshots").iterdir())
        assert (await profiles.list(limit=5))[0].request_id == "r-young"


async def test_what_a_service_sampled_comes_in(stage):
    """A profile that nobody asked for is taken from the agent's spool; a strange one is left."""
    request = "sampled.t-1.17"
    recorded = stage.agent.record(_request(request))
    strange = stage.agent.record(_request("unknown"))
    artifacts = [_artifact(recorded), _artifact(strange)]
    async with stage.life() as profiles:
        await profiles.take_in("a-1", stage.targets.address, artifacts)
        [profile] = await profiles.list(limit=5)
        done = await until(profiles, profile.id, ProfileState.SUCCEEDED)
        assert done.origin is ProfileOrigin.REQUEST
        assert done.target.service == "shop"
        stage.agent.discarded.clear()
        await profiles.take_in("a-1", stage.targets.address, artifacts)
        assert stage.agent.discarded == [recorded.id]
        assert len(await profiles.list(limit=5)) == 1


def _request(request_id):
    from memwatch_proto.v1 import agents_pb2, common_pb2

    return agents_pb2.RecordProfileRequest(
        request_id=request_id, target_id="t-1", kind=common_pb2.PROFILE_KIND_TYPES
    )


def _artifact(message) -> Artifact:
    from memwatch_controller.api.convert_profiles import artifact_from_pb

    return artifact_from_pb(message)
