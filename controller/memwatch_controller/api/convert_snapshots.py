"""Snapshots and captures as messages, and back."""

from google.protobuf.timestamp_pb2 import Timestamp

from memwatch_controller import model, upkeep
from memwatch_proto.v1 import agents_pb2, common_pb2, snapshots_pb2

_RUNTIMES = {
    model.Runtime.NODE: common_pb2.RUNTIME_NODE,
    model.Runtime.PYTHON: common_pb2.RUNTIME_PYTHON,
}
_WAYS = {
    model.CaptureWay.HOOK: common_pb2.CAPTURE_WAY_HOOK,
    model.CaptureWay.ATTACH: common_pb2.CAPTURE_WAY_ATTACH,
}
_PAUSE_SOURCES = {
    model.PauseSource.RUNTIME: common_pb2.PAUSE_SOURCE_RUNTIME,
    model.PauseSource.ROUND_TRIP: common_pb2.PAUSE_SOURCE_ROUND_TRIP,
}
_PAUSE_MODES = {
    model.PauseMode.ANY: common_pb2.PAUSE_MODE_UNSPECIFIED,
    model.PauseMode.AUTO: common_pb2.PAUSE_MODE_AUTO,
    model.PauseMode.NEVER: common_pb2.PAUSE_MODE_NEVER,
    model.PauseMode.BLOCKING: common_pb2.PAUSE_MODE_BLOCKING,
}
_MANNERS = {
    model.CaptureManner.FORKED: common_pb2.CAPTURE_MANNER_FORKED,
    model.CaptureManner.BLOCKING: common_pb2.CAPTURE_MANNER_BLOCKING,
}
_STAGES = {
    model.CaptureStage.PREFLIGHT: agents_pb2.CAPTURE_STAGE_PREFLIGHT,
    model.CaptureStage.CONNECTING: agents_pb2.CAPTURE_STAGE_CONNECTING,
    model.CaptureStage.CAPTURING: agents_pb2.CAPTURE_STAGE_CAPTURING,
    model.CaptureStage.FINISHING: agents_pb2.CAPTURE_STAGE_FINISHING,
}
_ORIGINS = {
    model.SnapshotOrigin.NEAR_LIMIT: snapshots_pb2.SNAPSHOT_ORIGIN_NEAR_LIMIT,
}
_RUNTIMES_BACK = {value: key for key, value in _RUNTIMES.items()}
_WAYS_BACK = {value: key for key, value in _WAYS.items()}
_PAUSE_SOURCES_BACK = {value: key for key, value in _PAUSE_SOURCES.items()}
_PAUSE_MODES_BACK = {value: key for key, value in _PAUSE_MODES.items()}
_MANNERS_BACK = {value: key for key, value in _MANNERS.items()}
_STAGES_BACK = {value: key for key, value in _STAGES.items()}
_ORIGINS_BACK = {value: key for key, value in _ORIGINS.items()}

_SAMPLE_FIGURES = (
    "rss_bytes",
    "pss_bytes",
    "cgroup_usage_bytes",
    "cgroup_limit_bytes",
    "heap_used_bytes",
    "heap_limit_bytes",
    "cpu_millis",
    "external_bytes",
    "resources",
)
_COST_FIGURES = (
    "pause_millis",
    "cpu_millis",
    "extra_memory_bytes",
    "rss_before_bytes",
    "rss_after_bytes",
    "duration_millis",
)
_TRY_FIGURES = ("failure", "pause_millis", "duration_millis", "extra_memory_bytes")
_FORECAST_FIGURES = (
    "pause_millis",
    "duration_millis",
    "extra_memory_bytes",
    "learned_from",
    "refusal",
)
_WALK_FIGURES = (
    "walker",
    "way",
    "objects",
    "heap_bytes",
    "rss_bytes",
    "walk_millis",
    "dump_bytes",
    "convert_millis",
)
_SNAPSHOT_TEXTS = (
    "id",
    "request_id",
    "target_id",
    "session_id",
    "phase",
    "runtime_version",
    "service",
    "container_id",
    "raw_size_bytes",
    "raw_sha256",
    "stored_size_bytes",
    "stored_sha256",
    "file_name",
    "late",
    "late_millis",
    "id_epoch",
)


def time_to_pb(millis: model.Millis) -> Timestamp | None:
    """A time as a message; None for none."""
    if not millis:
        return None
    return Timestamp(seconds=millis // 1000, nanos=millis % 1000 * 1_000_000)


def time_from_pb(time: Timestamp) -> model.Millis:
    """A time of a message; 0 where it is not set."""
    return time.seconds * 1000 + time.nanos // 1_000_000


def runtime_to_pb(runtime: model.Runtime) -> "common_pb2.Runtime":
    """A runtime as its enum."""
    return _RUNTIMES.get(runtime, common_pb2.RUNTIME_UNSPECIFIED)


def runtime_from_pb(runtime: "common_pb2.Runtime") -> model.Runtime:
    """A runtime of its enum; a newer one is unknown."""
    return _RUNTIMES_BACK.get(runtime, model.Runtime.UNKNOWN)


def way_to_pb(way: model.CaptureWay) -> "common_pb2.CaptureWay":
    """A way as its enum."""
    return _WAYS.get(way, common_pb2.CAPTURE_WAY_UNSPECIFIED)


def way_from_pb(way: "common_pb2.CaptureWay") -> model.CaptureWay:
    """A way of its enum; a newer one is any."""
    return _WAYS_BACK.get(way, model.CaptureWay.ANY)


def pause_mode_to_pb(mode: model.PauseMode) -> "common_pb2.PauseMode":
    """A pause mode as its enum."""
    return _PAUSE_MODES[mode]


def pause_mode_from_pb(mode: "common_pb2.PauseMode") -> model.PauseMode:
    """A pause mode of its enum; a newer one is any."""
    return _PAUSE_MODES_BACK.get(mode, model.PauseMode.ANY)


def _manner_to_pb(manner: model.CaptureManner) -> "common_pb2.CaptureManner":
    return _MANNERS.get(manner, common_pb2.CAPTURE_MANNER_UNSPECIFIED)


def _manner_from_pb(manner: "common_pb2.CaptureManner") -> model.CaptureManner:
    return _MANNERS_BACK.get(manner, model.CaptureManner.UNKNOWN)


def cost_to_pb(cost: model.CaptureCost) -> common_pb2.CaptureCost:
    """What something cost a target, as a message."""
    tries = [
        common_pb2.CaptureTry(
            manner=_manner_to_pb(one.manner),
            **{name: getattr(one, name) for name in _TRY_FIGURES},
        )
        for one in cost.tries
    ]
    return common_pb2.CaptureCost(
        pause_source=_PAUSE_SOURCES.get(cost.pause_source, common_pb2.PAUSE_SOURCE_UNSPECIFIED),
        manner=_manner_to_pb(cost.manner),
        tries=tries,
        **{name: getattr(cost, name) for name in _COST_FIGURES},
    )


def cost_from_pb(message: common_pb2.CaptureCost) -> model.CaptureCost:
    """What something cost a target, of a message."""
    tries = tuple(
        model.CaptureTry(
            manner=_manner_from_pb(one.manner),
            **{name: getattr(one, name) for name in _TRY_FIGURES},
        )
        for one in message.tries
    )
    return model.CaptureCost(
        pause_source=_PAUSE_SOURCES_BACK.get(message.pause_source, model.PauseSource.UNKNOWN),
        manner=_manner_from_pb(message.manner),
        tries=tries,
        **{name: getattr(message, name) for name in _COST_FIGURES},
    )


def sample_to_pb(sample: model.MemorySample) -> common_pb2.MemorySample:
    """A memory sample as a message; figures that nobody measured stay absent."""
    figures = {name: getattr(sample, name) for name in _SAMPLE_FIGURES}
    return common_pb2.MemorySample(sample_time=time_to_pb(sample.sample_time), **figures)


def sample_from_pb(message: common_pb2.MemorySample) -> model.MemorySample:
    """A memory sample of a message."""
    figures = {
        name: getattr(message, name) if message.HasField(name) else None for name in _SAMPLE_FIGURES
    }
    return model.MemorySample(sample_time=time_from_pb(message.sample_time), **figures)


def order_to_pb(order: model.CaptureOrder) -> agents_pb2.CaptureRequest:
    """What an agent is asked for."""
    return agents_pb2.CaptureRequest(
        request_id=order.request_id,
        target_id=order.target_id,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=way_to_pb(order.way),
        force=order.force,
        session_id=order.session_id,
        phase=order.phase,
        max_pause_millis=order.max_pause_millis,
        pause=pause_mode_to_pb(order.pause),
        timeout_millis=order.timeout_millis,
        trace_frames=order.trace_frames,
        trace_millis=order.trace_millis,
    )


def progress_to_pb(progress: model.CaptureProgress) -> agents_pb2.CaptureProgress:
    """The progress of a capture as a message."""
    message = agents_pb2.CaptureProgress(
        stage=_STAGES.get(progress.stage, agents_pb2.CAPTURE_STAGE_UNSPECIFIED),
        raw_size_bytes=progress.raw_size_bytes,
        expected_size_bytes=progress.expected_size_bytes,
    )
    if (preflight := progress.preflight) is not None:
        message.preflight.CopyFrom(
            agents_pb2.Preflight(
                pause_millis=preflight.pause_millis,
                extra_memory_bytes=preflight.extra_memory_bytes,
                headroom_bytes=preflight.headroom_bytes,
                raw_size_bytes=preflight.raw_size_bytes,
                learned_from=preflight.learned_from,
                allowed=preflight.allowed,
                refusal=preflight.refusal,
                manner=_manner_to_pb(preflight.manner),
                duration_millis=preflight.duration_millis,
                forecasts=[
                    agents_pb2.Forecast(
                        manner=_manner_to_pb(one.manner),
                        **{name: getattr(one, name) for name in _FORECAST_FIGURES},
                    )
                    for one in preflight.forecasts
                ],
            )
        )
    return message


def progress_from_pb(message: agents_pb2.CaptureProgress) -> model.CaptureProgress:
    """The progress of a capture of a message."""
    preflight = None
    if message.HasField("preflight"):
        found = message.preflight
        preflight = model.Preflight(
            pause_millis=found.pause_millis,
            extra_memory_bytes=found.extra_memory_bytes,
            headroom_bytes=found.headroom_bytes if found.HasField("headroom_bytes") else None,
            raw_size_bytes=found.raw_size_bytes,
            learned_from=found.learned_from,
            allowed=found.allowed,
            refusal=found.refusal,
            manner=_manner_from_pb(found.manner),
            duration_millis=found.duration_millis,
            forecasts=tuple(
                model.Forecast(
                    manner=_manner_from_pb(one.manner),
                    **{name: getattr(one, name) for name in _FORECAST_FIGURES},
                )
                for one in found.forecasts
            ),
        )
    return model.CaptureProgress(
        stage=_STAGES_BACK.get(message.stage, model.CaptureStage.UNKNOWN),
        raw_size_bytes=message.raw_size_bytes,
        expected_size_bytes=message.expected_size_bytes,
        preflight=preflight,
    )


def snapshot_to_pb(snapshot: model.Snapshot) -> snapshots_pb2.Snapshot:
    """A snapshot's metadata as a message."""
    message = snapshots_pb2.Snapshot(
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=way_to_pb(snapshot.way),
        runtime=runtime_to_pb(snapshot.runtime),
        capture_time=time_to_pb(snapshot.capture_time),
        notes=snapshot.notes,
        origin=_ORIGINS.get(snapshot.origin, snapshots_pb2.SNAPSHOT_ORIGIN_UNSPECIFIED),
        **{name: getattr(snapshot, name) for name in _SNAPSHOT_TEXTS},
    )
    if snapshot.cost is not None:
        message.cost.CopyFrom(cost_to_pb(snapshot.cost))
    if snapshot.memory is not None:
        message.memory.CopyFrom(sample_to_pb(snapshot.memory))
    if (walk := snapshot.walk) is not None:
        figures = {name: getattr(walk, name) for name in _WALK_FIGURES}
        message.walk.CopyFrom(snapshots_pb2.HeapWalk(**figures))
    return message


def snapshot_from_pb(message: snapshots_pb2.Snapshot) -> model.Snapshot:
    """A snapshot's metadata of a message."""
    return model.Snapshot(
        kind=model.SnapshotKind.HEAP,
        way=way_from_pb(message.way),
        runtime=runtime_from_pb(message.runtime),
        capture_time=time_from_pb(message.capture_time),
        cost=cost_from_pb(message.cost) if message.HasField("cost") else None,
        memory=sample_from_pb(message.memory) if message.HasField("memory") else None,
        notes=tuple(message.notes),
        walk=_walk_from_pb(message),
        origin=_ORIGINS_BACK.get(message.origin, model.SnapshotOrigin.ASKED),
        **{name: getattr(message, name) for name in _SNAPSHOT_TEXTS},
    )


def _walk_from_pb(message: snapshots_pb2.Snapshot) -> model.HeapWalk | None:
    if not message.HasField("walk"):
        return None
    return model.HeapWalk(**{name: getattr(message.walk, name) for name in _WALK_FIGURES})


def round_to_pb(done: upkeep.Round) -> snapshots_pb2.CleanUpSnapshotsResponse:
    """What a round of upkeep did; lists are cut, counts whole."""
    return snapshots_pb2.CleanUpSnapshotsResponse(
        deleted=[
            snapshots_pb2.ExpiredSnapshot(
                id=one.snapshot.id,
                session_id=one.snapshot.session_id,
                stored_size_bytes=one.snapshot.stored_size_bytes,
                why=one.why,
            )
            for one in done.deleted[: upkeep.MAX_NAMED]
        ],
        deleted_count=len(done.deleted),
        orphans=[
            snapshots_pb2.OrphanedBlob(
                key=blob.key, size_bytes=blob.size, modified_time=time_to_pb(blob.modified)
            )
            for blob in done.orphans[: upkeep.MAX_NAMED]
        ],
        orphan_count=len(done.orphans),
        lost_ids=[snapshot.id for snapshot in done.lost[: upkeep.MAX_NAMED]],
        lost_count=len(done.lost),
        fetched_ids=[snapshot.id for snapshot in done.fetched[: upkeep.MAX_NAMED]],
        freed_bytes=done.freed_bytes,
    )
