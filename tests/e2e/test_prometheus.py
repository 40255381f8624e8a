"""Rules and dashboards over a real Prometheus that scrapes a real agent and a real controller.

A leak is found after hours, a limit of memory is not everybody's to set, and a session costs
seconds: a third page, of the programs' own exporters with figures of ours, has what a short run
lacks.
"""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from memwatch_agent.captures import Counts
from memwatch_agent.detected import Book, DetectorCollector
from memwatch_agent.detection.findings import Finding, Kind, Severity
from memwatch_agent.metrics import AgentCollector, Health, serving
from memwatch_controller.counters import Counters
from memwatch_proto.v1 import common_pb2, targets_pb2
from tests.support.processes import free_port, running, wait_until
from tests.support.runtimes import ROOT
from tests.support.stack import Stack, python_service, unique

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("promtool")),
        reason="prometheus is not installed; apt-get install prometheus",
    ),
]

RULES = ROOT / "deploy" / "prometheus" / "memwatch.rules.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

#: What only workers and a cluster have: the sources that make it are looked at instead.
ELSEWHERE = {
    "memwatch_analysis_memory_promised_bytes": "api/metrics.py",
    "memwatch_injection_missing": "api/metrics.py",
    "memwatch_webhook_certificate_expiry_timestamp_seconds": "injection/server.py",
}

#: What the made page is alarmed of at once.
FIRING = {"MemwatchLeakDetected", "MemwatchLimitWithin2Hours"}


def fetched(url: str, token: str = "") -> str:
    """The text behind a URL."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def made_page() -> Iterator[str]:
    """The exporters with a leak that meets its limit in an hour, and a session; its address."""
    memory = common_pb2.MemorySample(
        rss_bytes=80, cgroup_usage_bytes=95, cgroup_limit_bytes=100, cpu_millis=10
    )
    memory.heap_used_bytes, memory.heap_limit_bytes = 70, 90
    target = targets_pb2.Target(id="t-1", service="made", pid=1, memory=memory)
    numbers = {"seconds_to_limit": 3600.0, "seconds_to_limit_low": 1800.0}
    leak = Finding(
        Kind.LEAK, Severity.HIGH, "rss", 0.0, {**numbers, "seconds_to_limit_high": 7200.0}
    )
    book = Book()
    book.begin(target, leak)
    told = book.told([(target, leak)], 1)
    health = Health("0", True, 1, 0, Counts(), 0, 100, 0)
    collectors = (
        AgentCollector(lambda: health, lambda: [target], lambda: (1, 1.0)),
        DetectorCollector(lambda: told),
        captured(),
    )
    with serving("127.0.0.1:0", *collectors) as address:
        yield address


def captured() -> CollectorRegistry:
    """What a controller counts of a capture and a comparison."""
    counters = Counters()
    counters.captures.labels("stored").inc()
    counters.analyses.labels("reported").inc()
    counters.analysis_seconds.observe(3)
    return counters.registry


class Prometheus:
    """A Prometheus of this test's; asked over its API."""

    def __init__(self, folder: Path, jobs: dict[str, str], token_file: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.config = folder / "prometheus.yml"
        scraped: list[dict[str, Any]] = [
            {"job_name": job, "static_configs": [{"targets": [at]}]} for job, at in jobs.items()
        ]
        for one in scraped:
            one["authorization"] = {"credentials_file": str(token_file)}
        asked = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config = {"global": asked, "rule_files": [str(RULES)], "scrape_configs": scraped}
        self.config.write_text(yaml.safe_dump(config))
        self.command = [
            *("prometheus", f"--config.file={self.config}", f"--storage.tsdb.path={folder}/tsdb"),
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(fetched(f"{self.url}/-/ready"))
        return False

    def asked(self, what: str, **query: str) -> Any:
        """The data of an answer of the API.

        Raises:
            HTTPError: it does not understand the query.
        """
        return json.loads(fetched(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(query)}"))[
            "data"
        ]


def panels() -> Iterator[tuple[str, str]]:
    """Each query of each dashboard as Grafana would send it, and where it stands."""
    values = {"$__rate_interval": "10s", "$service": ".*", "$namespace": ".*"}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"]
                for name, value in values.items():
                    query = query.replace(name, value)
                yield f"{path.stem}: {panel['title']}: {target['refId']}", query


def variables() -> Iterator[tuple[str, str]]:
    """The label and the series of each variable that is asked of Prometheus."""
    for path in DASHBOARDS:
        for one in json.loads(path.read_text())["templating"]["list"]:
            if one["type"] == "query":
                [(series, label)] = re.findall(r"^label_values\((.*), (\w+)\)$", one["definition"])
                yield label, series.replace("$namespace", ".*")


@contextlib.contextmanager
def scraped_run(folder: Path) -> Iterator[tuple[Prometheus, str, list[str]]]:
    """A watched service, and all of it scraped: Prometheus, the service's name, both pages."""
    pages = {"memwatch-agent": free_port(), "memwatch-controller": free_port()}
    at = {job: f"127.0.0.1:{port}" for job, port in pages.items()}
    name, hooks = unique("dashboards"), folder / "h"
    hooks.mkdir(mode=0o700)
    with (
        contextlib.ExitStack() as stack,
        python_service(Path(sys.executable), free_port(), service=name, hooks=hooks) as service,
        made_page() as made,
    ):
        programs = Stack(
            folder,
            agent_arguments=[
                *("--metrics-listen", at["memwatch-agent"], "--pid", str(service.pid)),
                *("--detect-interval", "5", "--memory-threshold", "1"),
            ],
            controller_arguments=["--http-listen", at["memwatch-controller"]],
        )
        prometheus = Prometheus(folder, {**at, "made": made}, programs.token_file)
        # First: it waits for five seconds before its first scrape.
        stack.enter_context(running(prometheus.command, log=folder / "prometheus.log"))
        stack.callback(programs.stop)
        programs.start()
        wait_until(prometheus.ready, 60, "Prometheus to be ready")
        programs.wait_for_target(name)
        yield (
            prometheus,
            name,
            [fetched(f"http://{address}/metrics", programs.token) for address in at.values()],
        )


def test_what_is_told_is_what_rules_and_dashboards_ask(folder):
    """Both pages are clean, every rule works, and every panel has data."""
    with scraped_run(folder) as (prometheus, name, pages):
        for page in pages:
            check_page(page)
        check_names(pages)
        high = f'memwatch_findings{{service="{name}", type="high_memory"}} == 1'
        missing = {
            "the agent's own finding": high,
            "it again, of the controller": "sum(memwatch_controller_findings) >= 1",
            **dict(panels()),
        }

        def all_there() -> bool:
            for place, query in list(missing.items()):
                if prometheus.asked("query", query=query)["result"]:
                    del missing[place]
            return not missing

        with contextlib.suppress(AssertionError):
            wait_until(all_there, 90)
        assert not missing
        check_rules(prometheus)
        for label, series in variables():
            values = prometheus.asked(f"label/{label}/values", **{"match[]": series})
            assert label == "namespace" or "made" in values


def check_page(page: str) -> None:
    """Promtool finds nothing to say about a page."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def check_names(pages: list[str]) -> None:
    """Each metric that a rule names is on a page, or is made by other programs."""
    told = set(re.findall(r"^# TYPE (\S+)", "\n".join(pages), re.M))
    rules = yaml.safe_load(RULES.read_text())["groups"]
    text = " ".join(rule["expr"] for group in rules for rule in group["rules"])
    named = set(re.findall(r"\bmemwatch_\w+", text))
    assert named - told == set(ELSEWHERE)
    for name, source in ELSEWHERE.items():
        assert name in (ROOT / "controller" / "memwatch_controller" / source).read_text()


def check_rules(prometheus: Prometheus) -> None:
    """Prometheus evaluates each without a complaint, and the leak is alarmed of."""
    rules: dict[str, Any] = {}

    def evaluated() -> bool:
        groups = prometheus.asked("rules")["groups"]
        rules.update({rule["name"]: rule for group in groups for rule in group["rules"]})
        return all(rule["health"] != "unknown" for rule in rules.values()) and firing() >= FIRING

    def firing() -> set[str]:
        return {name for name, rule in rules.items() if rule.get("state") == "firing"}

    wait_until(evaluated, 60, "every rule to be evaluated")
    assert {rule["health"] for rule in rules.values()} == {"ok"}
    assert firing() == FIRING
    [alert] = rules["MemwatchLeakDetected"]["alerts"]
    assert alert["annotations"]["summary"] == "made leaks memory: 1 finding(s)"
