"""A controller in memory behind a real gRPC server, for tests of whoever calls one.

It keeps targets, sessions, snapshots and reports in dictionaries, guards them with a token,
and plays a session as a script of states. Faults are planted as values: `fail_next`.
"""

# ruff: noqa: N802 - the methods are named by the protos

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import zstandard
from google.protobuf.timestamp_pb2 import Timestamp

from memwatch_proto import auth, chunks
from memwatch_proto.status import Failure, Reason, to_status
from memwatch_proto.v1 import (
    clusters_pb2,
    clusters_pb2_grpc,
    common_pb2,
    controllers_pb2,
    controllers_pb2_grpc,
    reports_pb2,
    reports_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
    snapshots_pb2,
    snapshots_pb2_grpc,
    targets_pb2,
    targets_pb2_grpc,
)

TOKEN = "fake-token"

S = sessions_pb2

#: How a session goes when all is well.
SUCCESS = (
    S.SESSION_STATE_CAPTURING_BEFORE,
    S.SESSION_STATE_WAITING,
    S.SESSION_STATE_CAPTURING_AFTER,
    S.SESSION_STATE_ANALYSING,
    S.SESSION_STATE_SUCCEEDED,
)

FINISHED = (S.SESSION_STATE_SUCCEEDED, S.SESSION_STATE_FAILED, S.SESSION_STATE_CANCELLED)


def now() -> Timestamp:
    """The time now."""
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def make_target(number: int, service: str = "shop", **fields) -> targets_pb2.Target:
    """A reachable Node target; its id is made of `number`."""
    values = {
        "id": f"t-{number:020x}",
        "agent_id": "a-1",
        "pid": 4000 + number,
        "start_time": now(),
        "runtime": common_pb2.RUNTIME_NODE,
        "runtime_version": "22.11.0",
        "service": service,
        "command": f"node {service}.js",
        "ways": [common_pb2.CAPTURE_WAY_ATTACH],
        "state": targets_pb2.TARGET_STATE_REACHABLE,
        "last_seen_time": now(),
        "memory": common_pb2.MemorySample(sample_time=now(), rss_bytes=100 << 20),
    }
    return targets_pb2.Target(**{**values, **fields})


@dataclass
class FakeController:
    """What the fake knows and how it behaves.

    Attributes:
        script: the states that a new session goes through after PENDING.
        step_seconds: time between two states.
        hold_at: a state in which sessions stay until cancelled.
        error: the error of a session that fails.
        fail_next: status codes for the next calls, the first one first.
        break_streams: how many of the next downloads and watches break off after one message.
        calls: names of the methods called.
    """

    targets: dict[str, targets_pb2.Target] = field(default_factory=dict)
    sessions: dict[str, sessions_pb2.Session] = field(default_factory=dict)
    snapshots: dict[str, snapshots_pb2.Snapshot] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    reports: dict[str, reports_pb2.Report] = field(default_factory=dict)
    script: tuple[int, ...] = SUCCESS
    checks: list[controllers_pb2.Check] = field(default_factory=list)
    attached: clusters_pb2.AttachAgentResponse = field(
        default_factory=clusters_pb2.AttachAgentResponse
    )
    step_seconds: float = 0.02
    hold_at: int = 0
    error: sessions_pb2.SessionError | None = None
    fail_next: list[grpc.StatusCode] = field(default_factory=list)
    break_streams: int = 0
    calls: list[str] = field(default_factory=list)
    requests: list[object] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add_target(self, target: targets_pb2.Target) -> targets_pb2.Target:
        """Makes a target known."""
        self.targets[target.id] = target
        return target

    def add_snapshot(self, raw: bytes, **fields) -> snapshots_pb2.Snapshot:
        """Stores a snapshot of these raw bytes."""
        stored = zstandard.ZstdCompressor(level=1).compress(raw)
        values = {
            "id": f"snap-{len(self.snapshots) + 1}",
            "kind": common_pb2.SNAPSHOT_KIND_HEAP,
            "way": common_pb2.CAPTURE_WAY_ATTACH,
            "runtime": common_pb2.RUNTIME_NODE,
            "service": "shop",
            "capture_time": now(),
            "raw_size_bytes": len(raw),
            "raw_sha256": hashlib.sha256(raw).hexdigest(),
            "stored_size_bytes": len(stored),
            "stored_sha256": hashlib.sha256(stored).hexdigest(),
            "cost": common_pb2.CaptureCost(pause_millis=12),
        }
        snapshot = snapshots_pb2.Snapshot(**{**values, **fields})
        if not snapshot.file_name:
            snapshot.file_name = (
                f"session_pid1_{snapshot.capture_time.ToMilliseconds()}"
                f"_{snapshot.phase or 'single'}_2026-11-22T06-32-35-123Z.heapsnapshot"
            )
        self.snapshots[snapshot.id], self.blobs[snapshot.id] = snapshot, stored
        return snapshot

    def add_session(self, **fields) -> sessions_pb2.Session:
        """Makes a session known, as it is."""
        values = {
            "id": f"s-{len(self.sessions) + 1}",
            "state": S.SESSION_STATE_SUCCEEDED,
            "create_time": now(),
            "update_time": now(),
        }
        session = sessions_pb2.Session(**{**values, **fields})
        self.sessions[session.id] = session
        return session

    def match(self, selector: targets_pb2.TargetSelector) -> list[targets_pb2.Target]:
        """Targets that a selector means; of a workload all, for no cluster says which."""
        if selector.workload.kind not in ("", "pod"):
            return list(self.targets.values())
        return [t for t in self.targets.values() if _matches(t, selector)]

    def play(self, session_id: str) -> None:
        """Moves a session through the script, in a thread of its own."""
        for state in self.script:
            time.sleep(self.step_seconds)
            with self.changed:
                session = self.sessions[session_id]
                if session.state in FINISHED:
                    return
                self._enter(session, state)
                self.changed.notify_all()
                if state == self.hold_at:
                    return

    def _enter(self, session: sessions_pb2.Session, state: int) -> None:
        session.state = state  # type: ignore[assignment]
        session.update_time.CopyFrom(now())
        part = session.targets[0]
        if state == S.SESSION_STATE_WAITING:
            part.snapshots.append(
                self.add_snapshot(b"{before}", phase="before", session_id=session.id)
            )
            due = session.update_time.ToMilliseconds() + session.plan.timeframe_millis
            session.next_capture_time.FromMilliseconds(due)
        elif state == S.SESSION_STATE_ANALYSING:
            part.snapshots.append(
                self.add_snapshot(b"{after}", phase="after", session_id=session.id)
            )
        elif state == S.SESSION_STATE_SUCCEEDED:
            report = make_report(f"r-{session.id}", session.id, part.target.id)
            self.reports[report.id] = report
            part.report_id = report.id
            session.report_ids.append(report.id)
        elif state == S.SESSION_STATE_FAILED and self.error:
            session.error.CopyFrom(self.error)


def make_report(report_id: str, session_id: str, target_id: str) -> reports_pb2.Report:
    """A report in which one class grew."""
    return reports_pb2.Report(
        id=report_id,
        session_id=session_id,
        target_id=target_id,
        create_time=now(),
        snapshot_ids=["snap-1", "snap-2"],
        before=reports_pb2.HeapTotals(object_count=1000, shallow_size_bytes=100_000),
        after=reports_pb2.HeapTotals(object_count=3000, shallow_size_bytes=300_000),
        classes=[
            reports_pb2.ClassGrowth(
                class_name="LeakedReport",
                count_before=10,
                count_after=2010,
                shallow_size_before_bytes=480,
                shallow_size_after_bytes=96_480,
                new_count=2000,
                new_size_bytes=96_000,
            ),
            reports_pb2.ClassGrowth(
                class_name="Evil\x1b[31m\nclass", count_before=5, count_after=4, gone_count=1
            ),
        ],
        class_count=2,
        summary="LeakedReport grew by 2,000 objects",
        json='{"version": 1}',
    )


def _matches(target: targets_pb2.Target, s: targets_pb2.TargetSelector) -> bool:
    named = s.name in (target.id, target.service, target.pod, str(target.pid)) or (
        len(s.name) >= 4 and target.container_id.startswith(s.name)
    )
    return (
        (not s.ids or target.id in s.ids)
        and (not s.name or named)
        and (not s.service or target.service == s.service)
        and (not s.container_id or target.container_id.startswith(s.container_id))
        and (not s.namespace or target.namespace == s.namespace)
        and (not s.pid or target.pid == s.pid)
        and all(target.labels.get(key) == value for key, value in s.labels.items())
    )


class _Service:
    """What all services share: the guard, planted faults, errors."""

    def __init__(self, fake: FakeController) -> None:
        self.fake = fake

    def enter(self, name: str, request: object, context: grpc.ServicerContext) -> None:
        """Notes a call, and fails it where a fault is planted or the token is wrong."""
        self.fake.calls.append(name)
        self.fake.requests.append(request)
        if self.fake.fail_next:
            context.abort(self.fake.fail_next.pop(0), "planted fault")
        given = dict(context.invocation_metadata()).get(auth.HEADER, "")
        if not auth.matches(str(given), TOKEN):
            fail(
                context,
                grpc.StatusCode.UNAUTHENTICATED,
                Reason.UNAUTHENTICATED,
                "cannot accept the call: the bearer token is missing or wrong",
            )


def fail(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str, message: str) -> None:
    """Ends a call with a rich status."""
    context.abort_with_status(to_status(Failure(code, reason, message)))


def not_found(context: grpc.ServicerContext, noun: str, value: str) -> None:
    """Ends a call with NOT_FOUND."""
    message = f"cannot find {noun} '{value}': there is no such {noun}"
    fail(context, grpc.StatusCode.NOT_FOUND, Reason.NOT_FOUND, message)


def page(items, request, context):
    """One page of a list, and the token of the next."""
    start = int(request.page_token or 0)
    size = request.page_size or 100
    rest = items[start : start + size]
    return rest, str(start + size) if start + size < len(items) else ""


class Controllers(_Service, controllers_pb2_grpc.ControllerServiceServicer):
    def GetController(self, request, context):
        self.enter("GetController", request, context)
        return controllers_pb2.Controller(
            version="9.9.9", start_time=now(), http_address="127.0.0.1:9467"
        )

    def Diagnose(self, request, context):
        self.enter("Diagnose", request, context)
        return controllers_pb2.DiagnoseResponse(checks=self.fake.checks, time=now())


class Clusters(_Service, clusters_pb2_grpc.ClusterServiceServicer):
    def AttachAgent(self, request, context):
        self.enter("AttachAgent", request, context)
        return self.fake.attached

    def DetachAgent(self, request, context):
        self.enter("DetachAgent", request, context)
        return clusters_pb2.DetachAgentResponse()


class Targets(_Service, targets_pb2_grpc.TargetServiceServicer):
    def GetTarget(self, request, context):
        self.enter("GetTarget", request, context)
        if request.id not in self.fake.targets:
            not_found(context, "target", request.id)
        return self.fake.targets[request.id]

    def ListTargets(self, request, context):
        self.enter("ListTargets", request, context)
        found = [
            t
            for t in self.fake.match(request.selector)
            if request.include_absent or t.state == targets_pb2.TARGET_STATE_REACHABLE
        ]
        items, token = page(found, request, context)
        return targets_pb2.ListTargetsResponse(targets=items, next_page_token=token)

    def WatchTarget(self, request, context):
        self.enter("WatchTarget", request, context)
        for _ in range(3):
            if request.id not in self.fake.targets:
                not_found(context, "target", request.id)
            yield targets_pb2.WatchTargetResponse(target=self.fake.targets[request.id])
        not_found(context, "target", request.id)


class Sessions(_Service, sessions_pb2_grpc.SessionServiceServicer):
    def CreateSession(self, request, context):
        self.enter("CreateSession", request, context)
        found = self.fake.match(request.plan.selector)
        if not found:
            fail(
                context,
                grpc.StatusCode.NOT_FOUND,
                Reason.TARGET_NOT_FOUND,
                "cannot create session: no target matches",
            )
        if len(found) > 1 and not request.plan.fleet:
            fail(
                context,
                grpc.StatusCode.FAILED_PRECONDITION,
                Reason.AMBIGUOUS_TARGET,
                f"cannot create session: {len(found)} targets match",
            )
        with self.fake.changed:
            session = self.fake.add_session(
                id=request.session_id or f"s-{uuid.uuid4().hex[:8]}",
                request_id=request.request_id,
                plan=request.plan,
                state=S.SESSION_STATE_PENDING,
                targets=[S.SessionTarget(target=target) for target in found],
            )
            answer = S.Session()
            answer.CopyFrom(session)
        threading.Thread(target=self.fake.play, args=(session.id,), daemon=True).start()
        return answer

    def GetSession(self, request, context):
        self.enter("GetSession", request, context)
        return self._one(request.id, context)

    def ListSessions(self, request, context):
        self.enter("ListSessions", request, context)
        found = [
            s
            for s in reversed(self.fake.sessions.values())
            if (not request.states or s.state in request.states)
            and (not request.service or s.plan.service == request.service)
        ]
        items, token = page(found, request, context)
        return S.ListSessionsResponse(sessions=items, next_page_token=token)

    def WatchSession(self, request, context):
        self.enter("WatchSession", request, context)
        self._one(request.id, context)
        last = None
        while context.is_active():
            with self.fake.changed:
                if self.fake.sessions[request.id] == last:
                    self.fake.changed.wait(0.2)
                session = S.Session()
                session.CopyFrom(self.fake.sessions[request.id])
            if session == last:
                continue
            last = session
            yield S.WatchSessionResponse(session=session)
            if self.fake.break_streams:
                self.fake.break_streams -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
            if session.state in FINISHED:
                return

    def PreviewIsolation(self, request, context):
        self.enter("PreviewIsolation", request, context)
        steps = ["pod shop/web-1: metadata.labels.app: web -> absent", "capture"]
        preview = S.IsolationPreview(
            namespace="shop", pod="web-1", mode=S.ISOLATION_MODE_DETACH, steps=steps
        )
        return S.PreviewIsolationResponse(pods=[preview])

    def CancelSession(self, request, context):
        self.enter("CancelSession", request, context)
        with self.fake.changed:
            session = self._one(request.id, context)
            if session.state not in FINISHED:
                session.state = S.SESSION_STATE_CANCELLED
            self.fake.changed.notify_all()
            return session

    def DeleteSession(self, request, context):
        self.enter("DeleteSession", request, context)
        session = self.fake.sessions.get(request.id)
        if session is not None and session.state not in FINISHED:
            fail(
                context,
                grpc.StatusCode.FAILED_PRECONDITION,
                Reason.SESSION_NOT_FINISHED,
                f"cannot delete session '{request.id}': it is not finished; cancel it first",
            )
        self.fake.sessions.pop(request.id, None)
        return S.DeleteSessionResponse()

    def _one(self, session_id, context):
        if session_id not in self.fake.sessions:
            not_found(context, "session", session_id)
        return self.fake.sessions[session_id]


class Snapshots(_Service, snapshots_pb2_grpc.SnapshotServiceServicer):
    def GetSnapshot(self, request, context):
        self.enter("GetSnapshot", request, context)
        if request.id not in self.fake.snapshots:
            not_found(context, "snapshot", request.id)
        return self.fake.snapshots[request.id]

    def ListSnapshots(self, request, context):
        self.enter("ListSnapshots", request, context)
        found = [
            s
            for s in reversed(self.fake.snapshots.values())
            if (not request.session_id or s.session_id == request.session_id)
            and (not request.target_id or s.target_id == request.target_id)
        ]
        items, token = page(found, request, context)
        return snapshots_pb2.ListSnapshotsResponse(snapshots=items, next_page_token=token)

    def DownloadSnapshot(self, request, context):
        self.enter("DownloadSnapshot", request, context)
        if request.id not in self.fake.snapshots:
            not_found(context, "snapshot", request.id)
        yield from self._chunks(request, context)

    def _chunks(self, request, context) -> Iterator[snapshots_pb2.Chunk]:
        import io

        blob, snapshot = self.fake.blobs[request.id], self.fake.snapshots[request.id]
        for chunk in chunks.read_chunks(
            io.BytesIO(blob), request.offset_bytes, len(blob), snapshot.stored_sha256
        ):
            yield chunk
            if self.fake.break_streams:
                self.fake.break_streams -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    def UploadSnapshot(self, request_iterator, context):
        first = next(request_iterator)
        self.enter("UploadSnapshot", first, context)
        data = b"".join(message.chunk.data for message in request_iterator)
        header = first.header
        if len(data) != header.size_bytes or hashlib.sha256(data).hexdigest() != header.sha256:
            fail(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                Reason.DIGEST_MISMATCH,
                "cannot store upload: length or digest differ",
            )
        raw = data
        if header.content_encoding == "zstd":
            raw = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        return self.fake.add_snapshot(
            raw,
            session_id=header.session_id,
            phase=header.phase,
            service=header.service,
            container_id=header.container_id,
            file_name=header.file_name,
        )

    def DeleteSnapshot(self, request, context):
        self.enter("DeleteSnapshot", request, context)
        self.fake.snapshots.pop(request.id, None)
        return snapshots_pb2.DeleteSnapshotResponse()

    def CleanUpSnapshots(self, request, context):
        self.enter("CleanUpSnapshots", request, context)
        gone = [] if request.dry_run else list(self.fake.snapshots)
        expired = [
            snapshots_pb2.ExpiredSnapshot(id=id, why="age", stored_size_bytes=2048)
            for id in self.fake.snapshots
        ]
        for id in gone:
            del self.fake.snapshots[id]
        orphan = snapshots_pb2.OrphanedBlob(key="snapshots/x.zst", size_bytes=1024)
        return snapshots_pb2.CleanUpSnapshotsResponse(
            deleted=expired, orphans=[orphan], lost_ids=["n-lost"], freed_bytes=2048
        )


class Reports(_Service, reports_pb2_grpc.ReportServiceServicer):
    def GetReport(self, request, context):
        self.enter("GetReport", request, context)
        for report in self.fake.reports.values():
            if request.id in (report.id, report.session_id):
                return report
        return not_found(context, "report", request.id)

    def CompareSnapshots(self, request, context):
        self.enter("CompareSnapshots", request, context)
        for snapshot_id in request.snapshot_ids:
            if snapshot_id not in self.fake.snapshots:
                not_found(context, "snapshot", snapshot_id)
        report = make_report("r-compared", "", "t-1")
        self.fake.reports[report.id] = report
        return report

    def ListReports(self, request, context):
        self.enter("ListReports", request, context)
        found = [
            r
            for r in reversed(self.fake.reports.values())
            if not request.session_id or r.session_id == request.session_id
        ]
        items, token = page(found, request, context)
        return reports_pb2.ListReportsResponse(reports=items, next_page_token=token)


@contextlib.contextmanager
def serving(fake: FakeController, address: str = "127.0.0.1:0") -> Iterator[str]:
    """Serves a fake for the length of the block; gives its address."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    controllers_pb2_grpc.add_ControllerServiceServicer_to_server(Controllers(fake), server)
    clusters_pb2_grpc.add_ClusterServiceServicer_to_server(Clusters(fake), server)
    targets_pb2_grpc.add_TargetServiceServicer_to_server(Targets(fake), server)
    sessions_pb2_grpc.add_SessionServiceServicer_to_server(Sessions(fake), server)
    snapshots_pb2_grpc.add_SnapshotServiceServicer_to_server(Snapshots(fake), server)
    reports_pb2_grpc.add_ReportServiceServicer_to_server(Reports(fake), server)
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
