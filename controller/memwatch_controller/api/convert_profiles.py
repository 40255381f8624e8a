"""Profiles as messages, and back."""

from collections.abc import Iterable

from memwatch_controller.api import convert
from memwatch_controller.api import convert_snapshots as snapshots
from memwatch_controller.profile import (
    Artifact,
    Profile,
    ProfileKind,
    ProfileOptions,
    ProfileOrigin,
    ProfileState,
    Recording,
    RecordOrder,
)
from memwatch_controller.profiles.catalogue import reports_of
from memwatch_proto.v1 import agents_pb2, common_pb2, profiles_pb2, snapshots_pb2

KINDS = {
    ProfileKind.TYPES: common_pb2.PROFILE_KIND_TYPES,
    ProfileKind.ALLOCATIONS: common_pb2.PROFILE_KIND_ALLOCATIONS,
    ProfileKind.NATIVE: common_pb2.PROFILE_KIND_NATIVE,
    ProfileKind.SAMPLING: common_pb2.PROFILE_KIND_SAMPLING,
    ProfileKind.NODE_ALLOCATIONS: common_pb2.PROFILE_KIND_NODE_ALLOCATIONS,
    ProfileKind.STATS: common_pb2.PROFILE_KIND_STATS,
    ProfileKind.NEAR_LIMIT: common_pb2.PROFILE_KIND_NEAR_LIMIT,
}
STATES = {
    ProfileState.PENDING: profiles_pb2.PROFILE_STATE_PENDING,
    ProfileState.RECORDING: profiles_pb2.PROFILE_STATE_RECORDING,
    ProfileState.STORING: profiles_pb2.PROFILE_STATE_STORING,
    ProfileState.SUCCEEDED: profiles_pb2.PROFILE_STATE_SUCCEEDED,
    ProfileState.FAILED: profiles_pb2.PROFILE_STATE_FAILED,
    ProfileState.CANCELLED: profiles_pb2.PROFILE_STATE_CANCELLED,
}
_ORIGINS = {
    ProfileOrigin.CALL: profiles_pb2.PROFILE_ORIGIN_CALL,
    ProfileOrigin.REQUEST: profiles_pb2.PROFILE_ORIGIN_REQUEST,
    ProfileOrigin.NEAR_LIMIT: profiles_pb2.PROFILE_ORIGIN_NEAR_LIMIT,
}
KINDS_BACK = {number: kind for kind, number in KINDS.items()}
STATES_BACK = {number: state for state, number in STATES.items()}

_OPTIONS = tuple(ProfileOptions.__dataclass_fields__)
_ARTIFACT = (
    "raw_size_bytes",
    "raw_sha256",
    "stored_size_bytes",
    "stored_sha256",
    "content_type",
    "file_name",
)


def profile_to_pb(profile: Profile) -> profiles_pb2.Profile:
    """A profile as a message."""
    message = profiles_pb2.Profile(
        id=profile.id,
        request_id=profile.request_id,
        target=convert.target_to_pb(profile.target),
        service=profile.target.service,
        kind=KINDS[profile.kind],
        state=STATES[profile.state],
        options=options_to_pb(profile.options),
        create_time=snapshots.time_to_pb(profile.create_time),
        update_time=snapshots.time_to_pb(profile.update_time),
        start_time=snapshots.time_to_pb(profile.start_time),
        origin=_ORIGINS[profile.origin],
        stop_requested=profile.stop_requested,
    )
    if profile.error is not None:
        message.error.reason = profile.error.reason
        message.error.message = profile.error.message
    if profile.state is ProfileState.SUCCEEDED:
        for info in reports_of(profile.kind):
            message.reports.add(name=info.name, formats=info.formats)
    if profile.artifact is not None:
        _add_artifact(message, profile.artifact)
    return message


def _add_artifact(message: profiles_pb2.Profile, artifact: Artifact) -> None:
    for name in _ARTIFACT:
        setattr(message, name, getattr(artifact, name))
    message.notes.extend(artifact.notes)
    if artifact.start_time:
        message.start_time.FromMilliseconds(artifact.start_time)
    if artifact.stop_time:
        message.stop_time.FromMilliseconds(artifact.stop_time)
    if artifact.cost is not None:
        message.cost.CopyFrom(snapshots.cost_to_pb(artifact.cost))


def options_to_pb(options: ProfileOptions) -> profiles_pb2.ProfileOptions:
    """Options as a message."""
    return profiles_pb2.ProfileOptions(**{name: getattr(options, name) for name in _OPTIONS})


def options_from_pb(message: profiles_pb2.ProfileOptions, usual: ProfileOptions) -> ProfileOptions:
    """Options of a message, with the usual ones filled in."""
    given = {name: getattr(message, name) or getattr(usual, name) for name in _OPTIONS}
    return ProfileOptions(**given)


def order_to_pb(order: RecordOrder) -> agents_pb2.RecordProfileRequest:
    """What an agent is asked for."""
    return agents_pb2.RecordProfileRequest(
        request_id=order.request_id,
        target_id=order.target_id,
        kind=KINDS[order.kind],
        options=options_to_pb(order.options),
        force=order.force,
        join_only=order.join_only,
    )


def recording_from_pb(message: agents_pb2.RecordingProgress) -> Recording:
    """The progress of a recording of a message."""
    return Recording(snapshots.time_from_pb(message.start_time))


def artifact_from_pb(message: snapshots_pb2.Snapshot) -> Artifact:
    """An artifact as its agent announces it."""
    return Artifact(
        id=message.id,
        request_id=message.request_id,
        target_id=message.target_id,
        kind=KINDS_BACK.get(message.profile_kind),
        start_time=snapshots.time_from_pb(message.capture_time),
        stop_time=snapshots.time_from_pb(message.end_time),
        cost=snapshots.cost_from_pb(message.cost) if message.HasField("cost") else None,
        notes=tuple(message.notes)[:50],
        **{name: getattr(message, name) for name in _ARTIFACT},
    )


def artifacts_from_pb(spooled: Iterable[snapshots_pb2.Snapshot]) -> list[Artifact]:
    """The profiles among what lies in a spool."""
    return [
        artifact_from_pb(message)
        for message in spooled
        if message.kind == common_pb2.SNAPSHOT_KIND_PROFILE
    ]
