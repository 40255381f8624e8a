"""Constructs an agent out of its parts, serves it, and stops it gracefully."""

import asyncio
import contextlib
import ctypes
import logging
import os
import random
import secrets
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import memwatch_proto
from memwatch_agent import metrics, procfs
from memwatch_agent.appmetrics import AppMetrics
from memwatch_agent.captures import Captures
from memwatch_agent.detected import DetectorCollector
from memwatch_agent.detector import Detector
from memwatch_agent.drivers import converter
from memwatch_agent.drivers.base import Runtime, Way
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.hookprofiles import record_by_hook
from memwatch_agent.drivers.node import NodeAttachDriver
from memwatch_agent.drivers.profiling import ProfileKind, Profilers
from memwatch_agent.drivers.python import PythonHookDriver
from memwatch_agent.drivers.pythonattach import (
    AttachPython,
    PythonAttachDriver,
    hook_folder,
)
from memwatch_agent.drivers.pythontypes import record_types
from memwatch_agent.errors import SettingsError
from memwatch_agent.figures import Drivers, Figures
from memwatch_agent.history import History
from memwatch_agent.hooks import HookFinder
from memwatch_agent.link import Backoff, Link
from memwatch_agent.metrics import AgentCollector, Health
from memwatch_agent.nodeprofiles import NodeProfiler
from memwatch_agent.places import Places
from memwatch_agent.processes import ProcessTable
from memwatch_agent.recording import Recorder
from memwatch_agent.recordings import Recordings
from memwatch_agent.sampled import Sampled
from memwatch_agent.sampling import Sampler
from memwatch_agent.service import AgentService
from memwatch_agent.settings import Settings
from memwatch_agent.spool import Spool, free_bytes
from memwatch_agent.statedir import StateDir
from memwatch_agent.taking import Taker
from memwatch_agent.targets import Place, Roster, read_place
from memwatch_proto import auth, keepalive
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, targets_pb2

PROC = Path("/proc")

#: Calls that run longer after SIGTERM are cancelled.
STOP_GRACE_SECONDS = 5.0

#: M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h.
_MALLOC_OPTIONS = ((-8, 1), (-3, 256 * 1024), (-1, 1024 * 1024))

#: How often targets are looked at for /metrics and the detector: the usual scrape interval.
LOOK_SECONDS = 15.0

#: How often the hooks' folders are looked through for profiles of sampled requests.
COLLECT_SECONDS = 5.0

#: How often inspectors that could not be shut are tried again.
TIDY_SECONDS = 30.0

#: Calls above this number are refused: an agent has a controller and a few people as callers.
MAX_CALLS = 256

_SERVICES = (
    agents_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name,
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
)

#: What is recorded of whom; an agent's capabilities name each as `profile-RUNTIME-KIND`.
_PYTHON_KINDS = (ProfileKind.TYPES, ProfileKind.ALLOCATIONS, ProfileKind.NATIVE)
_NODE_KINDS = (ProfileKind.SAMPLING, ProfileKind.NODE_ALLOCATIONS, ProfileKind.STATS)

_CAPABILITIES = tuple(
    agents_pb2.Capability(name=name, enabled=True)
    for name in (
        "node-attach",
        "node-hook",
        "python-hook",
        *(f"profile-{Runtime.PYTHON}-{kind}" for kind in _PYTHON_KINDS),
        *(f"profile-{Runtime.NODE}-{kind}" for kind in _NODE_KINDS),
    )
)

_log = structlog.get_logger(__name__)


async def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the exit code.

    Raises:
        SettingsError: the agent cannot start with these settings.
        StateDirError: the state directory cannot be used.
    """
    _log_json(settings.log_level)
    _keep_memory_together()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.end_with_input:
        threading.Thread(
            target=_drain_input, args=(asyncio.get_running_loop(), stop), daemon=True
        ).start()
    if settings.end_after_seconds:
        asyncio.get_running_loop().call_later(settings.end_after_seconds, stop.set)
    with StateDir(settings.state_dir) as state:
        await Agent(settings, state).serve(stop)
    return 0


class Agent:
    """One agent: every part, made once, in the order of need."""

    def __init__(self, settings: Settings, state: StateDir) -> None:
        self._settings = settings
        self._state = state
        self._started = time.time()
        self._address = settings.advertise or settings.listen
        self._place = _place(settings)
        self._attach = NodeAttachDriver(state.path)
        drivers = _drivers(self._attach, settings.attach_python)
        sampler = Sampler(PROC, time.time)
        hooks = HookFinder(settings.hook_dirs, time.monotonic, time.time)
        table = ProcessTable(PROC, settings.pids)
        self._roster = Roster(table, hooks, sampler, self._place, bool(settings.pids))
        self._figures = Figures(self._roster, drivers, time.monotonic)
        self._app_metrics = AppMetrics(self._roster, HookDriver(), time.monotonic)
        self._agent_id = state.agent_id()
        self._spool = Spool(state.path / "spool", settings.spool_quota_bytes, free_bytes)
        history = History(state.path / "history.json")
        taker = Taker(
            PROC,
            self._roster,
            self._figures,
            drivers,
            self._spool,
            history,
            time.time,
            _new_snapshot_id,
        )
        places = Places()
        self._captures = Captures(self._roster, taker, self._spool, places, time.monotonic)
        node = NodeProfiler(PROC, self._attach, self._roster, history)
        profilers: Profilers = {
            **{(Runtime.PYTHON, kind): record_by_hook for kind in _PYTHON_KINDS},
            (Runtime.PYTHON, ProfileKind.TYPES): record_types,
            **{(Runtime.NODE, kind): node for kind in _NODE_KINDS},
        }
        recorder = Recorder(self._roster, profilers, self._spool, time.time, _new_snapshot_id)
        self._recordings = Recordings(self._roster, recorder, self._spool, places, time.monotonic)
        self._sampled = Sampled(
            settings.hook_dirs, self._roster, self._spool, _new_snapshot_id, time.time
        )
        self._detector = Detector(settings.watching.marks, time.monotonic, time.time)
        token = auth.bearer(settings.token)
        self._link = Link(
            self._channel,
            token,
            self.about,
            self.targets,
            Backoff(random.random),
            self._sampled.waiting,
            self._detector.findings,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set."""
        collector = AgentCollector(self.own_health, lambda: self._figures.latest, own_figures)
        listen = self._settings.metrics_listen
        self._app_metrics.serve_from(asyncio.get_running_loop())
        detected = DetectorCollector(lambda: self._detector.told)
        collectors = (collector, detected, self._app_metrics)
        with metrics.serving(listen, *collectors) if listen else contextlib.nullcontext():
            await self._serve_calls(stop)

    async def _serve_calls(self, stop: asyncio.Event) -> None:
        server, health_service = self._server(stop)
        await server.start()
        await health_service.set("", health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving", agent=self._agent_id, address=self._address)
        tasks = [asyncio.create_task(work) for work in self._background()]
        try:
            await stop.wait()
        finally:
            _log.info("stopping")
            await health_service.enter_graceful_shutdown()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._captures.close()
            await self._recordings.close()
            await self._attach.aclose()
            await server.stop(STOP_GRACE_SECONDS)
            self._spool.close()

    async def about(self) -> agents_pb2.Agent:
        """Who the agent is now."""
        agent = agents_pb2.Agent(
            id=self._agent_id,
            version=memwatch_proto.__version__,
            host=self._settings.host,
            pod=self._place.pod,
            namespace=self._place.namespace,
            address=self._address,
            capabilities=_CAPABILITIES,
            spooled=self._spool.snapshots(),
        )
        agent.start_time.FromMilliseconds(int(self._started * 1000))
        return agent

    def own_health(self) -> Health:
        """The agent's own figures; called from the threads of /metrics."""
        return Health(
            version=memwatch_proto.__version__,
            connected=self._link.connected,
            connects=self._link.connects,
            captures_running=self._captures.running,
            counts=self._captures.counts,
            spool_used_bytes=self._spool.used_bytes,
            spool_quota_bytes=self._spool.quota_bytes,
            spool_snapshots=len(self._spool.snapshots()),
        )

    async def targets(self) -> Sequence[targets_pb2.Target]:
        """Looks for targets and samples each."""
        await self._roster.refresh()
        return await self._figures.described()

    def _background(self) -> list[Coroutine[Any, Any, None]]:
        work = [
            # Those that an agent before this one was killed over, or could not shut.
            _repeated(
                "shut inspectors that were left open", self._attach.close_leftovers, TIDY_SECONDS
            ),
            _repeated("take in sampled profiles", self._sampled.collect, COLLECT_SECONDS),
        ]
        watching = self._settings.watching
        if self._settings.metrics_listen or watching.enabled:
            work.append(_repeated("look for targets", self._look, LOOK_SECONDS))
        if watching.enabled:
            work.append(
                _repeated("look for leaks", self._look_for_leaks, watching.interval_seconds)
            )
        if self._settings.controller:
            work.append(self._link.run())
        return work

    async def _look(self) -> None:
        """Keeps the figures of /metrics and the detector fresh where no heartbeat does."""
        if not self._link.connected:
            await self.targets()
        self._detector.take(self._figures.latest)

    async def _look_for_leaks(self) -> None:
        """Judges one target after the other; calls are answered in between."""
        for _ in self._detector.look():
            await asyncio.sleep(0)

    def _server(self, stop: asyncio.Event) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
        settings = self._settings
        server = grpc.aio.server(
            interceptors=[auth.TokenInterceptor(settings.token)] if settings.token else [],
            options=keepalive.SERVER_OPTIONS,
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        service = AgentService(
            self.about,
            self._roster,
            self._figures,
            self._captures,
            self._recordings,
            self._spool,
            stop.set if settings.end_after_seconds else None,
        )
        agents_pb2_grpc.add_AgentServiceServicer_to_server(service, server)
        health_service = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
        reflection.enable_server_reflection(_SERVICES, server)
        self._bind(server)
        return server, health_service

    def _bind(self, server: grpc.aio.Server) -> None:
        """Binds the address; a Unix socket is for its owner alone."""
        listen, cert, key = self._settings.listen, self._settings.tls_cert, self._settings.tls_key
        mask = os.umask(0o177)
        try:
            if cert and key:
                pair = [(key.read_bytes(), cert.read_bytes())]
                port = server.add_secure_port(listen, grpc.ssl_server_credentials(pair))
            else:
                port = server.add_insecure_port(listen)
        except (RuntimeError, OSError) as error:
            raise SettingsError("--listen", listen, "the address cannot be bound") from error
        finally:
            os.umask(mask)
        if not listen.startswith("unix:") and not self._settings.advertise:
            self._address = f"{listen.rpartition(':')[0]}:{port}"

    def _channel(self) -> grpc.aio.Channel:
        settings = self._settings
        if settings.tls_ca is None:
            return grpc.aio.insecure_channel(settings.controller, keepalive.CHANNEL_OPTIONS)
        credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
        return grpc.aio.secure_channel(settings.controller, credentials, keepalive.CHANNEL_OPTIONS)


async def _repeated(doing: str, work: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Does a piece of work again and again; one that fails is told in the log, and comes again."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 the outermost loop of this task: it must go on
            _log.exception(f"cannot {doing}")
        await asyncio.sleep(seconds)


def _drain_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sets `stop` when the standard input ends; runs in a thread of its own."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended first
        loop.call_soon_threadsafe(stop.set)


def own_figures() -> tuple[int, float]:
    """The agent's own memory in bytes and CPU time in seconds."""
    stat = procfs.stat(PROC / "self")
    return (stat.rss_bytes, stat.cpu_ticks / procfs.CLOCK_TICKS) if stat else (0, 0.0)


def _drivers(attach: NodeAttachDriver, attach_python: AttachPython) -> Drivers:
    """A driver for each runtime and way."""
    hook = HookDriver()
    python = PythonHookDriver(converter.find())
    return {
        (Runtime.NODE, Way.HOOK): hook,
        (Runtime.NODE, Way.ATTACH): attach,
        (Runtime.PYTHON, Way.HOOK): python,
        (Runtime.PYTHON, Way.ATTACH): PythonAttachDriver(attach_python, hook_folder, python),
    }


def _new_snapshot_id() -> str:
    """An id that sorts by time and that no other agent makes."""
    return f"s-{int(time.time() * 1000):012x}-{secrets.token_hex(6)}"


def _place(settings: Settings) -> Place:
    uid, may_signal_all, host_key = read_place(PROC, settings.pod_uid)
    return Place(
        uid=uid,
        may_signal_all=may_signal_all,
        host_key=host_key,
        pod=settings.pod,
        namespace=settings.namespace,
        pod_uid=settings.pod_uid,
        service=settings.service,
        labels=settings.labels,
        attach_python=settings.attach_python,
    )


def _keep_memory_together() -> None:
    """Makes glibc give back what a capture used, where the C library is glibc.

    An arena for each thread keeps what the thread once used, and the threshold from which a block
    is mapped by itself grows with use: 1,200 calls of each kind that were cut off left 10 MiB
    that way, and leave 3 MiB this way. Threads of Python seldom allocate at the same time anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in _MALLOC_OPTIONS:
            mallopt(name, value)


def _log_json(level: str) -> None:
    """One JSON object a line on standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
