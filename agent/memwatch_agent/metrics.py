"""/metrics: the agent's own health and the basic memory figures of its targets.

Figures are those of the last look, so a scrape costs no target anything. Names from outside are
cut, and the number of targets is bounded, so that a scrape's size is bounded too.
"""

import contextlib
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from memwatch_agent.captures import Counts
from memwatch_agent.errors import SettingsError
from memwatch_proto.v1 import common_pb2, targets_pb2

#: Targets above this number are only counted: a host may run more processes than a metrics
#: store can bear as series.
MAX_TARGETS = 100

#: A label is cut here; services choose their own names.
MAX_LABEL_CHARS = 64

#: A scraper that is silent for so long is let go.
REQUEST_SECONDS = 5.0

#: Scrapes at once; one more is closed unanswered.
MAX_REQUESTS = 8

_RUNTIMES = {common_pb2.RUNTIME_NODE: "node", common_pb2.RUNTIME_PYTHON: "python"}
TARGET_LABELS = ("service", "runtime", "pid", "container")
_TARGET_FIGURES = (
    ("rss_bytes", "Resident memory of the process."),
    ("pss_bytes", "Proportional memory of the process, where it is cheap to read."),
    ("cgroup_usage_bytes", "Memory charged to the process's cgroup."),
    ("cgroup_limit_bytes", "The cgroup's limit."),
    ("heap_used_bytes", "Bytes in use on the runtime's own heap."),
    ("heap_limit_bytes", "The runtime's own limit for its heap."),
)


@dataclass(frozen=True)
class Health:
    """The agent's own figures at one instant."""

    version: str
    connected: bool
    connects: int
    captures_running: int
    counts: Counts
    spool_used_bytes: int
    spool_quota_bytes: int
    spool_snapshots: int


class AgentCollector(Collector):
    """Turns the agent's figures into metrics at each scrape."""

    def __init__(
        self,
        health: Callable[[], Health],
        targets: Callable[[], Sequence[targets_pb2.Target]],
        own_figures: Callable[[], tuple[int, float]],
    ) -> None:
        """Where the figures come from.

        Args:
            health: the agent's own figures.
            targets: the targets of the last look.
            own_figures: RSS in bytes and CPU seconds of the agent.
        """
        self._health = health
        self._targets = targets
        self._own_figures = own_figures

    def collect(self) -> Iterator[Metric]:
        """Every metric, with its newest figures."""
        yield from self._own()
        targets = self._targets()
        yield _gauge("memwatch_agent_targets", "Processes seen at the last look.", len(targets))
        shown = targets[:MAX_TARGETS]
        for name, about in _TARGET_FIGURES:
            family = GaugeMetricFamily(f"memwatch_target_{name}", about, labels=TARGET_LABELS)
            for target in shown:
                if target.memory.HasField(name):
                    family.add_metric(target_labels(target), getattr(target.memory, name))
            yield family
        cpu = CounterMetricFamily(
            "memwatch_target_cpu_seconds", "CPU time of the process.", labels=TARGET_LABELS
        )
        for target in shown:
            if target.memory.HasField("cpu_millis"):
                cpu.add_metric(target_labels(target), target.memory.cpu_millis / 1000)
        yield cpu

    def _own(self) -> Iterator[Metric]:
        health = self._health()
        rss, cpu = self._own_figures()
        info = GaugeMetricFamily("memwatch_agent_info", "The agent's version.", labels=["version"])
        info.add_metric([health.version], 1)
        yield info
        yield _gauge("memwatch_agent_resident_memory_bytes", "The agent's own memory.", rss)
        yield _counter("memwatch_agent_cpu_seconds", "The agent's own CPU time.", cpu)
        yield _gauge(
            "memwatch_agent_link_up", "Whether the controller answers.", int(health.connected)
        )
        yield _counter("memwatch_agent_link_connects", "Registrations so far.", health.connects)
        yield _gauge("memwatch_agent_spool_used_bytes", "Spool in use.", health.spool_used_bytes)
        yield _gauge("memwatch_agent_spool_quota_bytes", "Spool quota.", health.spool_quota_bytes)
        yield _gauge(
            "memwatch_agent_spool_snapshots", "Snapshots not discarded.", health.spool_snapshots
        )
        yield from _captures(health)


def _captures(health: Health) -> Iterator[Metric]:
    counts = health.counts
    running = health.captures_running
    yield _gauge("memwatch_agent_captures_running", "Captures that run now.", running)
    yield _counter("memwatch_agent_captures_started", "Captures begun.", counts.started)
    yield _counter("memwatch_agent_captures_succeeded", "Captures done.", counts.succeeded)
    yield _counter("memwatch_agent_captured_bytes", "Bytes captured, raw.", counts.raw_bytes)
    failed = CounterMetricFamily(
        "memwatch_agent_captures_failed", "Captures that failed.", labels=["reason"]
    )
    for reason, count in sorted(counts.failed.items()):
        failed.add_metric([reason], count)
    yield failed


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, about, value=value)


def target_labels(target: targets_pb2.Target) -> list[str]:
    """The values of `TARGET_LABELS`."""
    return [
        target.service[:MAX_LABEL_CHARS],
        _RUNTIMES.get(target.runtime, ""),
        str(target.pid),
        target.container_id[:12],
    ]


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing: scrapes come every few seconds."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A small HTTP server with a bounded number of requests at once."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, family: socket.AddressFamily, address: Any) -> None:
        self.address_family = family
        self._free = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without asking the name service who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "agent", 0
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves in a thread, or closes where too many are served already."""
        if self._free.acquire(blocking=False):
            # The peer of a Unix socket has no name, and the handler wants one.
            super().process_request(request, client_address or ("unix", 0))
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that went away half-way is none of our business."""


@contextlib.contextmanager
def serving(listen: str, *collectors: Collector) -> Iterator[str]:
    """Serves /metrics in a thread while the block runs; gives the address it is bound to.

    Raises:
        SettingsError: the address cannot be bound.
    """
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    try:
        server = _bound(listen)
    except OSError as error:
        cause = error.strerror or str(error)
        raise SettingsError("--metrics-listen", listen, f"{cause}; use 'off' or another") from error
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield listen if listen.startswith("unix:") else _address(server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(REQUEST_SECONDS)


def _bound(listen: str) -> _Server:
    if listen.startswith("unix:"):
        path = Path(listen.removeprefix("unix:"))
        if path.is_socket():
            path.unlink()  # of an agent before this one
        mask = os.umask(0o177)
        try:
            return _Server(socket.AF_UNIX, str(path))
        finally:
            os.umask(mask)
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _Server(family, (host, int(port)))


def _address(server: _Server) -> str:
    host, port = server.server_address[:2]
    text = host.decode() if isinstance(host, bytes) else str(host)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
