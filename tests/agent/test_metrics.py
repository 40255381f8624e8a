"""`metrics.py`: what Prometheus reads, bounded in size and in time."""

import contextlib
import http.client
import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from memwatch_agent import metrics
from memwatch_agent.captures import Counts
from memwatch_agent.errors import SettingsError
from memwatch_agent.metrics import AgentCollector, Health, serving
from memwatch_proto.v1 import common_pb2, targets_pb2

HEALTH = Health("0.1.0", True, 3, 1, Counts(5, 4, 600, {"HEADROOM": 1}), 7, 100, 2)


def one_target(number=1, **memory):
    return targets_pb2.Target(
        id=f"t-{number}",
        pid=number,
        service="shop",
        runtime=common_pb2.RUNTIME_NODE,
        container_id="c" * 64,
        memory=common_pb2.MemorySample(**memory),
    )


def collector(*targets) -> AgentCollector:
    return AgentCollector(lambda: HEALTH, lambda: targets, lambda: (50, 1.5))


def scraped(*targets):
    """Every sample of a scrape, by name and labels."""
    registry = CollectorRegistry()
    registry.register(collector(*targets))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


LABELS = (("container", "c" * 12), ("pid", "1"), ("runtime", "node"), ("service", "shop"))


def test_the_agent_s_health():
    """Memory, link, spool and captures of the agent itself."""
    found = scraped()

    assert found["memwatch_agent_info", (("version", "0.1.0"),)] == 1
    assert found["memwatch_agent_resident_memory_bytes", ()] == 50
    assert found["memwatch_agent_cpu_seconds_total", ()] == 1.5
    assert found["memwatch_agent_link_up", ()] == 1
    assert found["memwatch_agent_link_connects_total", ()] == 3
    assert found["memwatch_agent_spool_used_bytes", ()] == 7
    assert found["memwatch_agent_captures_started_total", ()] == 5
    assert found["memwatch_agent_captures_failed_total", (("reason", "HEADROOM"),)] == 1


def test_a_target_s_memory():
    """Figures that are known are there, the others are absent and not 0."""
    found = scraped(one_target(rss_bytes=11, cgroup_limit_bytes=12, cpu_millis=2500))

    assert found["memwatch_target_rss_bytes", LABELS] == 11
    assert found["memwatch_target_cgroup_limit_bytes", LABELS] == 12
    assert found["memwatch_target_cpu_seconds_total", LABELS] == 2.5
    assert ("memwatch_target_heap_used_bytes", LABELS) not in found


def test_a_scrape_is_bounded(monkeypatch):
    """Neither many targets nor long names make it grow without end."""
    monkeypatch.setattr(metrics, "MAX_TARGETS", 2)
    targets = [one_target(number, rss_bytes=1) for number in range(5)]
    targets[0].service = "x" * 1000 + '"\n'

    found = scraped(*targets)

    assert found["memwatch_agent_targets", ()] == 5
    shown = [labels for name, labels in found if name == "memwatch_target_rss_bytes"]
    assert len(shown) == 2
    assert max(len(value) for labels in shown for _, value in labels) == metrics.MAX_LABEL_CHARS


def test_it_is_served_on_tcp():
    """A scraper gets it over HTTP at the address that was bound."""
    with (
        serving("127.0.0.1:0", collector()) as address,
        urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer,
    ):
        assert b"memwatch_agent_info" in answer.read()
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_it_is_served_on_a_unix_socket(tmp_path):
    """A Unix socket serves it to its owner alone, over one that an earlier agent left."""
    path = tmp_path / "m.sock"
    for _ in range(2):
        with serving(f"unix:{path}", collector()), socket.socket(socket.AF_UNIX) as client:
            assert path.stat().st_mode & 0o077 == 0
            client.connect(str(path))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.0 200 OK"


def test_a_taken_port_is_named():
    """An address that cannot be bound is told with the next step."""
    with (
        serving("127.0.0.1:0", collector()) as address,
        pytest.raises(SettingsError, match=r"cannot use --metrics-listen '.*': .*use 'off'"),
        serving(address, collector()),
    ):
        pass


def test_idle_connections_do_not_pile_up(monkeypatch):
    """More callers at once than allowed are closed; the others are served on."""
    monkeypatch.setattr(metrics, "MAX_REQUESTS", 3)
    with serving("127.0.0.1:0", collector()) as address:
        host, port = address.split(":")
        idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(3)]
        more = socket.create_connection((host, int(port)), timeout=5)
        more.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):  # closed as well
            assert more.recv(1) == b""
        for one in idle:
            one.close()
        assert _eventually_served(host, int(port))


def _eventually_served(host: str, port: int) -> bool:
    for _ in range(50):
        client = http.client.HTTPConnection(host, port, timeout=5)
        try:
            client.request("GET", "/metrics")
            return client.getresponse().status == 200
        except (ConnectionError, http.client.HTTPException):
            continue
        finally:
            client.close()
    return False
