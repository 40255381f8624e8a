"""`appmetrics.py`: figures of real processes' hooks on /metrics, through a scrape."""

import asyncio
import contextlib
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from memwatch_agent import appmetrics as module
from memwatch_agent.appfigures import Family
from memwatch_agent.appmetrics import AppMetrics, exported
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.hooks import HookFinder
from memwatch_agent.metrics import serving
from memwatch_agent.processes import ProcessTable
from memwatch_agent.sampling import Sampler
from memwatch_agent.targets import Roster
from tests.agent.fakes import PLACE, FakeRoster, target
from tests.support.processes import running, wait_until
from tests.support.runtimes import ROOT

WORKERS = """
import os, time
from memwatch_hook import metrics
for _ in range(2):
    if os.fork() == 0:
        break
metrics.counter("orders", 3, {"shop": "north \\"1\\"\\n"}, about="Orders.")
metrics.gauge("depth", os.getpid(), combine="max")
metrics.histogram("wait_seconds", 0.3)
metrics.counter("Bad name")
for number in range(150):
    metrics.counter("many", 1, {"user": str(number) + "é" * 64, "text": "é" * 64})
    metrics.histogram("much", 1, {"user": number})
print("ready", flush=True)
time.sleep(60)
"""


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_workers_tell_their_figures_to_a_scrape(tmp_path):
    """Processes of a service are one row; odd labels come through; a dead one still counts."""
    folder, log = tmp_path / "h", tmp_path / "log"
    env = {
        "MEMWATCH_HOOK_DIR": str(folder),
        "MEMWATCH_SERVICE_NAME": "appmetrics-test",
        "PYTHONPATH": f"{ROOT / 'hook/bootstrap'}:{ROOT / 'hook'}",
    }
    with running([sys.executable, "-c", WORKERS], env=env, log=log) as first:
        await asyncio.to_thread(
            wait_until, lambda: log.exists() and log.read_text().count("ready") == 3
        )
        await asyncio.to_thread(wait_until, lambda: len(list(folder.glob("*.sock"))) == 3)
        pids = sorted(int(path.name.split("-")[1]) for path in folder.glob("*.sock"))
        table = ProcessTable(Path("/proc"), pids)
        hooks = HookFinder([folder], time.monotonic, time.time)
        roster = Roster(table, hooks, Sampler(Path("/proc"), time.time), PLACE, only=True)
        await roster.refresh()
        metrics = AppMetrics(roster, HookDriver(), time.monotonic)
        metrics.serve_from(asyncio.get_running_loop())
        with serving("127.0.0.1:0", metrics) as address:
            found = samples(await asyncio.to_thread(_get, address))
        service = ("service", "appmetrics-test")
        orders = ("memwatch_app_orders_total", service, ("shop", 'north "1"\n'))
        assert found[orders] == 9
        assert found["memwatch_app_depth", service] == max(pids)
        assert found["memwatch_app_wait_seconds_count", service] == 3
        assert found["memwatch_app_wait_seconds_bucket", ("le", "0.5"), service] == 3
        assert found["memwatch_app_wait_seconds_bucket", ("le", "0.25"), service] == 0
        assert found["memwatch_agent_app_calls_dropped_total",] == 3
        assert sum(key[0] == "memwatch_app_many_total" for key in found) == 150
        assert sum(key[0] == "memwatch_app_much_count" for key in found) == 150
    await asyncio.to_thread(first.wait)
    await roster.refresh()
    assert list(roster.targets) == []
    metrics._asked_at = float("-inf")
    await metrics.refresh()
    after = {family.name: family.series for family in metrics._together}
    assert list(after["orders"].values()) == [(9.0,)]
    assert "depth" not in after


def _get(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return answer.read().decode()


async def test_a_hook_that_hangs_costs_a_scrape_no_more_than_its_time(tmp_path, monkeypatch):
    """A process that is stopped is left out, what it said before stands."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(module, "_tells", lambda target: True)
    metrics = AppMetrics(FakeRoster(target("t-1")), Silent(), time.monotonic)
    await metrics.refresh()

    assert list(metrics._together) == []


class Silent(HookDriver):
    """Opens no link for a minute."""

    @contextlib.asynccontextmanager
    async def open(self, target):
        await asyncio.sleep(60)
        yield


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ([("a", "counter"), ("a_total", "gauge")], ["memwatch_app_a"]),
        ([("a_count", "gauge"), ("a", "histogram")], ["memwatch_app_a_count"]),
        ([("a_total", "counter")], ["memwatch_app_a"]),
        ([("a", "gauge"), ("b", "gauge")], ["memwatch_app_a", "memwatch_app_b"]),
    ],
)
def test_no_two_metrics_share_a_sample_s_name(names, kept):
    """Prometheus would refuse the whole scrape; the second one is left out instead."""
    values = {"gauge": (1.0,), "counter": (1.0,), "histogram": (1.0, 1.0, 0.0)}
    families = [
        Family(name, kind, "", (), "sum", (1.0,) * (kind == "histogram"), {("s",): values[kind]})
        for name, kind in names
    ]
    metrics = list(exported(families))

    assert [metric.name for metric in metrics] == kept
    registry = CollectorRegistry(auto_describe=False)
    registry.register(type("All", (), {"collect": lambda self: metrics})())
    assert samples(generate_latest(registry).decode())
