"""Talks gRPC to a controller: token, TLS, deadlines, retries; errors become `errors.CliError`.

One `Controller` wraps one channel. A call that meets UNAVAILABLE is tried again by gRPC
itself (`_RETRIES`), which is safe: whatever creates something carries a request id. A watch
that breaks is taken up again, since a session outlives its controller's restart.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc

from memwatch_proto import keepalive
from memwatch_proto.auth import bearer, read_token
from memwatch_proto.status import from_rpc_error
from memwatch_proto.v1 import (
    clusters_pb2,
    clusters_pb2_grpc,
    controllers_pb2,
    controllers_pb2_grpc,
    findings_pb2,
    findings_pb2_grpc,
    profiles_pb2,
    profiles_pb2_grpc,
    reports_pb2,
    reports_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
    snapshots_pb2,
    snapshots_pb2_grpc,
    targets_pb2,
    targets_pb2_grpc,
)
from memwatchctl.contexts import Connection
from memwatchctl.errors import CallError, CliError, FileError, TokenFileError, UnreachableError

T = TypeVar("T")

#: A controller that has not answered a small question by then is stuck.
DEADLINE_SECONDS = 30.0

#: An analysis of large snapshots takes minutes; one that takes longer than this is lost.
COMPARE_SECONDS = 1800.0

#: An image is pulled, and the agent registers, within two minutes, or the server says why not.
ATTACH_SECONDS = 180.0

#: How long a broken watch is taken up again: a controller restarts within this.
PATIENCE_SECONDS = 120.0

#: Sizes of pages asked for; the server's own limit is 1,000.
PAGE_SIZE = 200

#: A report of 500 classes with long names, or a session of a fleet, is below this.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

_CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.service_config", json.dumps(_RETRIES)),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    *keepalive.CHANNEL_OPTIONS,
    ("grpc.enable_http_proxy", 0),
)


def open_channel(connection: Connection) -> grpc.Channel:
    """A channel to an address; nothing is sent yet.

    Raises:
        FileError: the certificate authority's file cannot be read.
    """
    if not connection.tls_ca:
        return grpc.insecure_channel(connection.controller, _CHANNEL_OPTIONS)
    try:
        roots = Path(connection.tls_ca).read_bytes()
    except OSError as error:
        raise FileError("read certificate authority", connection.tls_ca, error) from error
    return grpc.secure_channel(
        connection.controller, grpc.ssl_channel_credentials(roots), _CHANNEL_OPTIONS
    )


def token_of(connection: Connection) -> str:
    """The bearer token; empty where there is none.

    Raises:
        TokenFileError: the token file cannot be read or is empty.
    """
    if connection.token_file is None:
        return connection.token
    try:
        return read_token(connection.token_file)
    except OSError as error:
        raise TokenFileError(connection.token_file, error) from error
    except ValueError as error:
        raise TokenFileError(connection.token_file, "it is empty, or is no text") from error


def translated(error: grpc.RpcError, address: str) -> CliError:
    """What a failed call says, as an error of the command line."""
    failure = from_rpc_error(error)
    if failure.code is grpc.StatusCode.UNAVAILABLE and failure.reason == "UNAVAILABLE":
        return UnreachableError(address, _short_cause(failure.message))
    if failure.code is grpc.StatusCode.UNIMPLEMENTED and failure.reason == "UNIMPLEMENTED":
        return CallError(
            failure.reason,
            f"cannot use the server at '{address}': it does not know this call; "
            "it is no memwatch controller, or an older one",
        )
    message = failure.message
    if not message.startswith("cannot"):
        message = f"cannot go on: the server at '{address}' says: {message}"
    return CallError(str(failure.reason), message, failure.metadata, failure.retry_after_seconds)


def _short_cause(message: str) -> str:
    """The long words of gRPC for a connection that failed, short."""
    lowered = message.lower()
    for found, said in (
        ("connection refused", "connection refused"),
        ("no such file", "there is no such socket"),
        ("certificate", "its certificate is not trusted; check --tls-ca"),
        ("ssl", "TLS handshake failed; check --tls-ca"),
        ("name resolution", "the name cannot be resolved"),
        ("domain name not found", "the name cannot be resolved"),
        ("timeout", "no answer in time"),
    ):
        if found in lowered:
            return said
    return " ".join(message.split())[:200]


class Controller:
    """The calls of a controller that the command line makes.

    Args:
        connection: where it is and how to be let in.
        on_retry: told in one sentence that a broken watch is taken up again.
        sleep: waits between tries.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        connection: Connection,
        on_retry: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self._metadata = bearer(token_of(connection))
        self._channel = open_channel(connection)
        self._on_retry, self._sleep, self._clock = on_retry, sleep, clock
        self._targets = targets_pb2_grpc.TargetServiceStub(self._channel)
        self._sessions = sessions_pb2_grpc.SessionServiceStub(self._channel)
        self._snapshots = snapshots_pb2_grpc.SnapshotServiceStub(self._channel)
        self._reports = reports_pb2_grpc.ReportServiceStub(self._channel)
        self._profiles = profiles_pb2_grpc.ProfileServiceStub(self._channel)
        self._findings = findings_pb2_grpc.FindingServiceStub(self._channel)
        self._controllers = controllers_pb2_grpc.ControllerServiceStub(self._channel)
        self._clusters = clusters_pb2_grpc.ClusterServiceStub(self._channel)

    def __enter__(self) -> "Controller":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def controller(self) -> controllers_pb2.Controller:
        """What the controller says of itself."""
        request = controllers_pb2.GetControllerRequest()
        return self._call(self._controllers.GetController, request)

    def diagnose(self, namespace: str) -> controllers_pb2.DiagnoseResponse:
        """Whether everything that captures need is in order."""
        return self._call(
            self._controllers.Diagnose, controllers_pb2.DiagnoseRequest(namespace=namespace)
        )

    def attach(
        self,
        pod: str,
        namespace: str,
        *,
        container: str,
        user: int | None,
        keep_millis: int,
        dry_run: bool,
    ) -> clusters_pb2.AttachAgentResponse:
        """An agent in a running pod; with `dry_run` the patch alone."""
        request = clusters_pb2.AttachAgentRequest(
            pod=pod,
            namespace=namespace,
            container=container,
            user=user,
            keep_millis=keep_millis,
            dry_run=dry_run,
        )
        with self._translating():
            return self._clusters.AttachAgent(
                request, metadata=self._metadata, timeout=ATTACH_SECONDS
            )

    def detach(self, agent_id: str) -> None:
        """Ends an attached agent."""
        self._call(self._clusters.DetachAgent, clusters_pb2.DetachAgentRequest(agent_id=agent_id))

    def targets(
        self, selector: targets_pb2.TargetSelector, include_absent: bool, limit: int
    ) -> Iterator[targets_pb2.Target]:
        """Targets that match, at most `limit` (0: all)."""

        def page(size: int, token: str) -> targets_pb2.ListTargetsResponse:
            request = targets_pb2.ListTargetsRequest(
                selector=selector, include_absent=include_absent, page_size=size, page_token=token
            )
            return self._call(self._targets.ListTargets, request)

        return _paged(page, lambda response: response.targets, limit)

    def target(self, target_id: str) -> targets_pb2.Target:
        """One target."""
        return self._call(self._targets.GetTarget, targets_pb2.GetTargetRequest(id=target_id))

    def watch_target(self, target_id: str) -> Iterator[targets_pb2.Target]:
        """A target now and at each report of its agent, for ever."""
        request = targets_pb2.WatchTargetRequest(id=target_id)
        while True:
            for response in self._watched(self._targets.WatchTarget, request):
                yield response.target
            self._sleep(1.0)

    def sessions(
        self, states: Iterable[int], service: str, limit: int
    ) -> Iterator[sessions_pb2.Session]:
        """Sessions, newest first, at most `limit` (0: all)."""
        wanted: Any = list(states)

        def page(size: int, token: str) -> sessions_pb2.ListSessionsResponse:
            request = sessions_pb2.ListSessionsRequest(
                states=wanted, service=service, page_size=size, page_token=token
            )
            return self._call(self._sessions.ListSessions, request)

        return _paged(page, lambda response: response.sessions, limit)

    def session(self, session_id: str) -> sessions_pb2.Session:
        """One session."""
        request = sessions_pb2.GetSessionRequest(id=session_id)
        return self._call(self._sessions.GetSession, request)

    def watch_session(self, session_id: str) -> Iterator[sessions_pb2.Session]:
        """A session now and at each change, until it is finished."""
        request = sessions_pb2.WatchSessionRequest(id=session_id)
        while True:
            for response in self._watched(self._sessions.WatchSession, request):
                yield response.session
                if is_finished(response.session):
                    return
            self._sleep(1.0)  # ended early: a controller that was told to stop

    def create_session(
        self, plan: sessions_pb2.SessionPlan, session_id: str
    ) -> sessions_pb2.Session:
        """Starts a session."""
        request = sessions_pb2.CreateSessionRequest(
            request_id=str(uuid.uuid4()), plan=plan, session_id=session_id
        )
        return self._call(self._sessions.CreateSession, request)

    def preview_isolation(
        self, plan: sessions_pb2.SessionPlan
    ) -> list[sessions_pb2.IsolationPreview]:
        """What a session with this plan would change around its targets."""
        request = sessions_pb2.PreviewIsolationRequest(plan=plan)
        return list(self._call(self._sessions.PreviewIsolation, request).pods)

    def cancel_session(self, session_id: str) -> sessions_pb2.Session:
        """Ends a session before its time."""
        request = sessions_pb2.CancelSessionRequest(id=session_id)
        return self._call(self._sessions.CancelSession, request)

    def delete_session(self, session_id: str) -> None:
        """Deletes a finished session with its snapshots and reports."""
        request = sessions_pb2.DeleteSessionRequest(id=session_id)
        self._call(self._sessions.DeleteSession, request)

    def snapshots(
        self, session_id: str, target_id: str, limit: int
    ) -> Iterator[snapshots_pb2.Snapshot]:
        """Snapshots, newest first, at most `limit` (0: all)."""

        def page(size: int, token: str) -> snapshots_pb2.ListSnapshotsResponse:
            request = snapshots_pb2.ListSnapshotsRequest(
                session_id=session_id, target_id=target_id, page_size=size, page_token=token
            )
            return self._call(self._snapshots.ListSnapshots, request)

        return _paged(page, lambda response: response.snapshots, limit)

    def snapshot(self, snapshot_id: str) -> snapshots_pb2.Snapshot:
        """One snapshot's metadata."""
        request = snapshots_pb2.GetSnapshotRequest(id=snapshot_id)
        return self._call(self._snapshots.GetSnapshot, request)

    def clean_up(
        self, *, dry_run: bool, delete_orphans: bool
    ) -> snapshots_pb2.CleanUpSnapshotsResponse:
        """A round of upkeep in the controller's store."""
        request = snapshots_pb2.CleanUpSnapshotsRequest(
            dry_run=dry_run, delete_orphans=delete_orphans
        )
        with self._translating():
            return self._snapshots.CleanUpSnapshots(
                request, timeout=COMPARE_SECONDS, metadata=self._metadata
            )

    def download(self, snapshot_id: str, offset: int) -> Iterator[snapshots_pb2.Chunk]:
        """The stored bytes from an offset; a broken stream is the caller's to take up."""
        request = snapshots_pb2.DownloadSnapshotRequest(id=snapshot_id, offset_bytes=offset)
        with self._translating():
            yield from self._snapshots.DownloadSnapshot(request, metadata=self._metadata)

    def upload(
        self, messages: Iterator[snapshots_pb2.UploadSnapshotRequest]
    ) -> snapshots_pb2.Snapshot:
        """Stores a snapshot from outside."""
        with self._translating():
            return self._snapshots.UploadSnapshot(messages, metadata=self._metadata)

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Deletes a snapshot."""
        request = snapshots_pb2.DeleteSnapshotRequest(id=snapshot_id)
        self._call(self._snapshots.DeleteSnapshot, request)

    def report(self, report_id: str) -> reports_pb2.Report:
        """A report, by its id or its session's."""
        return self._call(self._reports.GetReport, reports_pb2.GetReportRequest(id=report_id))

    def compare(self, snapshot_ids: Sequence[str]) -> reports_pb2.Report:
        """Compares stored snapshots, oldest first; may take minutes."""
        request = reports_pb2.CompareSnapshotsRequest(snapshot_ids=snapshot_ids)
        with self._translating():
            return self._reports.CompareSnapshots(
                request, timeout=COMPARE_SECONDS, metadata=self._metadata
            )

    def reports(self, session_id: str, limit: int) -> Iterator[reports_pb2.Report]:
        """Reports, newest first, at most `limit` (0: all)."""

        def page(size: int, token: str) -> reports_pb2.ListReportsResponse:
            request = reports_pb2.ListReportsRequest(
                session_id=session_id, page_size=size, page_token=token
            )
            return self._call(self._reports.ListReports, request)

        return _paged(page, lambda response: response.reports, limit)

    def start_profile(
        self,
        selector: targets_pb2.TargetSelector,
        kind: int,
        options: profiles_pb2.ProfileOptions,
        force: bool,
    ) -> profiles_pb2.Profile:
        """Starts a recording."""
        wanted: Any = kind
        request = profiles_pb2.StartProfileRequest(
            request_id=str(uuid.uuid4()),
            selector=selector,
            kind=wanted,
            options=options,
            force=force,
        )
        return self._call(self._profiles.StartProfile, request)

    def stop_profile(self, profile_id: str) -> profiles_pb2.Profile:
        """Ends a recording before its time."""
        request = profiles_pb2.StopProfileRequest(id=profile_id)
        return self._call(self._profiles.StopProfile, request)

    def profile(self, profile_id: str) -> profiles_pb2.Profile:
        """One profile."""
        request = profiles_pb2.GetProfileRequest(id=profile_id)
        return self._call(self._profiles.GetProfile, request)

    def profiles(
        self, states: Iterable[int], kind: int, service: str, target_id: str, limit: int
    ) -> Iterator[profiles_pb2.Profile]:
        """Profiles, newest first, at most `limit` (0: all)."""
        wanted: Any = list(states)
        wanted_kind: Any = kind

        def page(size: int, token: str) -> profiles_pb2.ListProfilesResponse:
            request = profiles_pb2.ListProfilesRequest(
                states=wanted,
                kind=wanted_kind,
                service=service,
                target_id=target_id,
                page_size=size,
                page_token=token,
            )
            return self._call(self._profiles.ListProfiles, request)

        return _paged(page, lambda response: response.profiles, limit)

    def delete_profile(self, profile_id: str) -> None:
        """Deletes a finished profile."""
        request = profiles_pb2.DeleteProfileRequest(id=profile_id)
        self._call(self._profiles.DeleteProfile, request)

    def profile_report(
        self, profile_id: str, report: str, format_: str, base_id: str, limit: int
    ) -> tuple[profiles_pb2.ProfileReportHeader, Iterator[bytes]]:
        """A report's header, and its bytes as they come; making it may take minutes."""
        request = profiles_pb2.GetProfileReportRequest(
            id=profile_id, report=report, format=format_, base_id=base_id, limit=limit
        )
        with self._translating():
            parts = self._profiles.GetProfileReport(
                request, timeout=COMPARE_SECONDS, metadata=self._metadata
            )
            header = next(iter(parts)).header

        def data() -> Iterator[bytes]:
            with self._translating():
                for part in parts:
                    yield part.data

        return header, data()

    def cleanup_profiles(
        self, older_than_millis: int, dry_run: bool
    ) -> profiles_pb2.CleanupProfilesResponse:
        """Deletes old profiles."""
        request = profiles_pb2.CleanupProfilesRequest(
            older_than_millis=older_than_millis, dry_run=dry_run
        )
        return self._call(self._profiles.CleanupProfiles, request)

    def findings(
        self, wanted: findings_pb2.ListFindingsRequest, limit: int
    ) -> Iterator[findings_pb2.Finding]:
        """Findings, the worst first; `limit` 0: all."""

        def page(size: int, token: str) -> findings_pb2.ListFindingsResponse:
            request = findings_pb2.ListFindingsRequest()
            request.CopyFrom(wanted)
            request.page_size, request.page_token = size, token
            return self._call(self._findings.ListFindings, request)

        return _paged(page, lambda response: response.findings, limit)

    def finding(self, finding_id: str) -> findings_pb2.Finding:
        """One finding."""
        request = findings_pb2.GetFindingRequest(id=finding_id)
        return self._call(self._findings.GetFinding, request)

    def watch_findings(
        self, wanted: findings_pb2.WatchFindingsRequest
    ) -> Iterator[findings_pb2.Finding]:
        """What stands now, and each finding again when it changes; until Ctrl-C."""
        for seen in self._watched(self._findings.WatchFindings, wanted):
            yield seen.finding

    def acknowledge(self, finding_id: str, by: str) -> findings_pb2.Finding:
        """Says that somebody knows of a finding."""
        request = findings_pb2.AcknowledgeFindingRequest(id=finding_id, by=by)
        return self._call(self._findings.AcknowledgeFinding, request)

    def _call(self, method: Callable[..., T], request: object) -> T:
        """One call with deadline and token."""
        with self._translating():
            return method(request, timeout=DEADLINE_SECONDS, metadata=self._metadata)

    def _watched(self, method: Callable[..., Iterable[T]], request: object) -> Iterator[T]:
        """One watch, taken up again while its breaks are short."""
        broken_since: float | None = None
        while True:
            stream: Any = method(request, metadata=self._metadata)
            try:
                for response in stream:
                    broken_since = None
                    yield response
                return
            except grpc.RpcError as error:
                now = self._clock()
                broken_since = now if broken_since is None else broken_since
                failed = translated(error, self.connection.controller)
                if (
                    not isinstance(failed, UnreachableError)
                    or now - broken_since > PATIENCE_SECONDS
                ):
                    raise failed from error
                self._on_retry(f"the controller at '{failed.address}' is away; trying again")
                self._sleep(1.0)
            finally:
                stream.cancel()

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise translated(error, self.connection.controller) from error


def _paged(
    page: Callable[[int, str], Any], items: Callable[[Any], Iterable[T]], limit: int
) -> Iterator[T]:
    """Follows the pages of a list until it ends or `limit` (0: none) is reached."""
    token, left = "", limit
    while True:
        response = page(min(left, PAGE_SIZE) if limit else PAGE_SIZE, token)
        for item in items(response):
            yield item
            left -= 1
            if limit and left == 0:
                return
        token = response.next_page_token
        if not token:
            return


def is_finished(session: sessions_pb2.Session) -> bool:
    """Whether a session has ended, in whatever way."""
    return session.state in (
        sessions_pb2.SESSION_STATE_SUCCEEDED,
        sessions_pb2.SESSION_STATE_FAILED,
        sessions_pb2.SESSION_STATE_CANCELLED,
    )
