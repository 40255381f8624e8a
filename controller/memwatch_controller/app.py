"""Constructs a controller out of its parts, serves it, and stops it gracefully.

The only place that wires. Every part is made once, in the order of need, and undone in
the reverse order, whatever happens in between; `serving.py` opens the servers over them.
"""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import grpc
import structlog

from memwatch_controller import logs, model
from memwatch_controller.analysis.guard import default_memory
from memwatch_controller.analysis.queries import Queries
from memwatch_controller.analysis.runner import Limits, Runner
from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.cluster import config as cluster_config
from memwatch_controller.cluster.attachments import Attachments
from memwatch_controller.cluster.budgets import Budgets
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.isolations import Isolations
from memwatch_controller.cluster.lookup import Lookup
from memwatch_controller.cluster.targets import ClusterTargets
from memwatch_controller.cluster.watchdog import Watchdog as InjectionWatchdog
from memwatch_controller.counters import Counters
from memwatch_controller.errors import StartError
from memwatch_controller.findings import Findings
from memwatch_controller.heaps import Heaps
from memwatch_controller.injection.reviews import SYSTEM_NAMESPACES
from memwatch_controller.lifetime import Ending, at_work, keep_names
from memwatch_controller.profiles.course import Course
from memwatch_controller.profiles.reporting import PROFILE_WORKER, Reporter
from memwatch_controller.profiles.service import DAY_MILLIS, Profiles
from memwatch_controller.registry import Registry
from memwatch_controller.reports import Reports
from memwatch_controller.serving import Parts, served
from memwatch_controller.sessions.analysing import Analysing
from memwatch_controller.sessions.dbos_engine import DbosEngine
from memwatch_controller.sessions.engine import Queue, Share, WorkKind
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.patience import Patience, Retry
from memwatch_controller.sessions.performing import Performer
from memwatch_controller.sessions.phases import Phases
from memwatch_controller.sessions.ports import NoBudgets
from memwatch_controller.sessions.records import Records
from memwatch_controller.sessions.rotations import Rotations
from memwatch_controller.sessions.service import SessionLimits, SessionService
from memwatch_controller.sessions.slots import Slots
from memwatch_controller.sessions.watchdog import Watchdog
from memwatch_controller.settings import Settings
from memwatch_controller.snapshots import transfer
from memwatch_controller.snapshots.service import Snapshots
from memwatch_controller.sources import asking
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import Database, open_database
from memwatch_controller.store.findings import FindingTable
from memwatch_controller.store.isolations import IsolationTable
from memwatch_controller.store.metadata import Metadata
from memwatch_controller.store.presence import Presence, open_presence
from memwatch_controller.store.profiles import ProfileTable
from memwatch_controller.upkeep import Upkeep
from memwatch_proto import auth

_log = structlog.get_logger()


async def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the exit code.

    Raises:
        StartError: the controller cannot start with these settings.
    """
    logs.configure(settings.log_level)
    ending = Ending()
    ending.on_signals()
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(_parts(settings, ending))
        await stack.enter_async_context(served(parts))
        _log.info("serving", listen=settings.listen, http=settings.http_listen)
        await ending.wait()
        _log.info("stopping")
    return ending.code


@asynccontextmanager
async def _parts(settings: Settings, ending: Ending) -> AsyncIterator[Parts]:
    """Every part but the servers, at work."""
    token = _token(settings)
    async with AsyncExitStack() as stack:
        presence = await stack.enter_async_context(_alone(settings))
        at_work(stack, keep_names(presence, ending))
        database = await open_database(_database_url(settings))
        stack.push_async_callback(database.close)
        metadata = Metadata(database)
        registry = Registry(metadata, _now, round(settings.heartbeat_seconds * 1000))
        await registry.load()
        stack.push_async_callback(registry.flush)
        cluster = _cluster(stack, settings)
        agents = AgentChannels(token, _agent_credentials(settings))
        stack.push_async_callback(agents.close)
        blobs = BlobStore.open(_blob_url(settings), settings.data_dir)
        counters = Counters()
        snapshots = Snapshots(metadata, blobs, agents, _now, counters)
        runner = Runner(_analysis_limits(settings))
        originals = asking(registry, agents)
        reports = Reports(metadata, blobs, runner, _now, counters, originals)
        heaps = Heaps(metadata, blobs, runner, Queries(), settings.data_dir / "indexes")
        stack.push_async_callback(heaps.close)
        snapshots.on_removed(heaps.forget)
        patience = Patience(unreachable_millis=round(settings.retry_seconds * 1000))
        slots = Slots(
            settings.max_captures, settings.max_captures_per_service, patience.busy_millis / 1000
        )
        isolations = IsolationTable(database, _now)
        sessions = await _sessions(
            stack,
            settings,
            presence,
            metadata,
            registry,
            snapshots,
            reports,
            slots,
            patience,
            cluster,
            isolations,
        )
        profile_table = ProfileTable(database)
        profiles = await _profiles(stack, settings, profile_table, blobs, agents, registry, slots)
        findings = await _findings(stack, database, registry)
        at_work(stack, registry.run())
        connected, keep = registry.connected, settings.keep
        upkeep = Upkeep(metadata, profile_table, blobs, snapshots, agents, connected, keep, _now)
        at_work(stack, upkeep.run())
        yield Parts(
            settings=settings,
            token=token,
            metadata=metadata,
            registry=registry,
            blobs=blobs,
            snapshots=snapshots,
            reports=reports,
            heaps=heaps,
            sessions=sessions,
            profiles=profiles,
            findings=findings,
            upkeep=upkeep,
            counters=counters,
            attachments=Attachments(cluster, registry, agents.end, settings.attaching, _now),
            cluster=cluster,
            injection=_injection(stack, cluster, settings.namespaces),
            left_alone=_left_alone(cluster),
            now=_now,
        )


async def _findings(stack: AsyncExitStack, database: Database, registry: Registry) -> Findings:
    """Findings, what stood taken up again."""
    findings = Findings(FindingTable(database), registry, _now)
    await findings.load()
    stack.push_async_callback(findings.flush)
    at_work(stack, findings.run())
    return findings


@asynccontextmanager
async def _alone(settings: Settings) -> AsyncIterator[Presence]:
    """The names of this program; a database has one controller at a time.

    Agents are linked to one controller, and its registry and limits are in memory: a second
    one would fail the sessions of agents that it cannot reach.

    Raises:
        StartError: another controller is at work on this database.
    """
    url = _database_url(settings)
    async with open_presence(url, settings.host) as presence:
        if holder := await presence.take("controller", settings.wait_seconds):
            raise StartError(
                "this database",
                f"the controller {holder} works on it, and there is one at a time; end that "
                "one, or add machines with memwatch-controller worker",
            )
        yield presence


def _cluster(stack: AsyncExitStack, settings: Settings) -> Client | None:
    """The cluster that this controller works in; None where it is none, or is switched off.

    Raises:
        NoClusterError: the settings name one that cannot be used.
    """
    if settings.cluster == "off":
        return None
    if settings.cluster == "auto" and not cluster_config.is_pod(os.environ):
        return None
    source = "in-cluster" if settings.cluster == "auto" else settings.cluster
    client = Client(cluster_config.load(source, os.environ))
    stack.push_async_callback(client.close)
    return client


def _injection(
    stack: AsyncExitStack, cluster: Client | None, namespaces: Sequence[str]
) -> InjectionWatchdog | None:
    """What looks for pods without their agent, at work; None where there is no cluster."""
    if cluster is None:
        return None
    watchdog = InjectionWatchdog(cluster, _left_alone(cluster), namespaces)
    at_work(stack, watchdog.run())
    return watchdog


def _left_alone(cluster: Client | None) -> Sequence[str]:
    """Namespaces whose pods the webhook never changes: the system's, and our own."""
    return (*SYSTEM_NAMESPACES, *([cluster.namespace] if cluster else []))


def _share(settings: Settings) -> Share:
    """The controller's part of the work: analyses only where it is told to do any."""
    queues = set(Queue) if settings.analysis_workers else {Queue.SESSIONS}
    return Share(frozenset(queues), settings.analysis_workers)


async def _sessions(
    stack: AsyncExitStack,
    settings: Settings,
    presence: Presence,
    metadata: Metadata,
    registry: Registry,
    snapshots: Snapshots,
    reports: Reports,
    slots: Slots,
    patience: Patience,
    cluster: Client | None,
    isolations: IsolationTable,
) -> SessionService:
    """Sessions, with their engine at work."""
    lookup = Lookup(cluster) if cluster else None
    feed = Feed()
    records = Records(metadata, feed, _now)
    engine = DbosEngine(_engine_url(settings), settings.host, presence, _share(settings))
    retry = Retry(patience, _now)
    pods = Isolations(cluster, isolations, settings.host, _now) if cluster else None
    if pods is not None:
        at_work(stack, pods.run())
    rotations = Rotations(pods, isolations)
    phases = Phases(
        records=records,
        feed=feed,
        directory=registry,
        captures=snapshots,
        slots=slots,
        rotations=rotations,
        retry=retry,
        patience=patience,
        budgets=Budgets(lookup) if lookup else NoBudgets(),
        now=_now,
    )
    steps = {
        WorkKind.CAPTURE: phases.capture,
        WorkKind.DISCARD: phases.discard,
        WorkKind.ANALYSE: Analysing(records, reports, retry, patience).analyse,
    }
    await engine.start(Performer(steps, records, retry, _now).perform)
    stack.push_async_callback(engine.stop)
    at_work(stack, Watchdog(records, metadata, engine, _now).run())
    return SessionService(
        records=records,
        metadata=metadata,
        feed=feed,
        engine=engine,
        targets=registry,
        rotations=rotations,
        captures=snapshots,
        workloads=ClusterTargets(lookup, registry),
        limits=SessionLimits(open_sessions=settings.max_sessions),
        now=_now,
        new_id=_new_session_id,
    )


async def _profiles(
    stack: AsyncExitStack,
    settings: Settings,
    rows: ProfileTable,
    blobs: BlobStore,
    agents: AgentChannels,
    registry: Registry,
    slots: Slots,
) -> Profiles:
    """Profiles, those that an earlier life left open taken up again."""
    # Where analyses are done elsewhere, reports of profiles still are made here: they are small.
    limits = replace(_analysis_limits(settings), workers=max(1, settings.analysis_workers))
    runner = Runner(limits, PROFILE_WORKER)
    service = Profiles(
        rows=rows,
        blobs=blobs,
        agents=agents,
        targets=registry,
        course=Course(rows, blobs, agents, registry, slots, _now, transfer.Patience()),
        reporter=Reporter(blobs, runner, settings.data_dir / "profile-reports"),
        now=_now,
        new_id=_new_profile_id,
        keep_millis=settings.profile_days * DAY_MILLIS,
    )
    stack.push_async_callback(service.close)
    await service.load()
    at_work(stack, service.run())
    return service


def _token(settings: Settings) -> str:
    """The bearer token, made on the first start; empty where every caller is let in.

    Raises:
        StartError: the data directory or the token file cannot be used.
    """
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.no_auth:
            return ""
        return settings.token or auth.load_or_create_token(settings.token_file)
    except OSError as error:
        what = f"'{error.filename or settings.data_dir}'"
        raise StartError(what, f"{error.strerror}; check --data-dir and --token-file") from error
    except ValueError as error:
        raise StartError(f"--token-file '{settings.token_file}'", str(error)) from error


def _agent_credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    if settings.tls_ca is None:
        return None
    return grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())


def _analysis_limits(settings: Settings) -> Limits:
    return Limits(
        workers=max(1, settings.analysis_workers),  # an index of a heap is always built here
        memory_bytes=settings.analysis_memory_mib * 1024**2 or default_memory(),
        seconds=settings.analysis_seconds,
    )


def _database_url(settings: Settings) -> str:
    return settings.database_url or f"sqlite:///{settings.data_dir.absolute()}/metadata.sqlite"


def _engine_url(settings: Settings) -> str:
    """DBOS keeps its tables in a file of its own, or in a schema of its own."""
    if settings.database_url and not settings.database_url.startswith("sqlite"):
        return settings.database_url
    return f"sqlite:///{settings.data_dir.absolute()}/sessions.sqlite"


def _blob_url(settings: Settings) -> str:
    return settings.blob_url or (settings.data_dir.absolute() / "blobs").as_uri()


def _now() -> model.Millis:
    return time.time_ns() // 1_000_000


def _new_session_id() -> str:
    """An id that sorts by time."""
    return f"s-{_now():x}-{uuid4().hex[:8]}"


def _new_profile_id() -> str:
    """An id that sorts by time."""
    return f"p-{_now():x}-{uuid4().hex[:8]}"
