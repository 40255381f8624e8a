"""`detected.py`: the detector's word on /metrics, bounded whatever services are called."""

import math

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from memwatch_agent import detected
from memwatch_agent.detected import Book, DetectorCollector
from memwatch_agent.detection.findings import Finding, Kind, Severity
from memwatch_agent.metrics import MAX_LABEL_CHARS
from memwatch_proto.v1 import common_pb2, targets_pb2


def process(service="shop", pid=7):
    """A target as the roster describes it."""
    return targets_pb2.Target(service=service, pid=pid, runtime=common_pb2.RUNTIME_PYTHON)


def leak(severity=Severity.HIGH, **evidence):
    """A leak of the process's memory."""
    return Finding(Kind.LEAK, severity, "rss", 0.0, evidence)


def scraped(told):
    """Every sample of a scrape, by name and labels."""
    registry = CollectorRegistry()
    registry.register(DetectorCollector(lambda: told))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted(name, told):
    """The values of a metric by service, type and severity."""
    return {
        tuple(value for _, value in sorted(labels)): number
        for (of, labels), number in scraped(told).items()
        if of == name
    }


def test_a_quiet_detector_tells_what_it_costs():
    """No finding, no series of findings; looks, their time and the processes are there."""
    book = Book()
    book.looked(0.5)
    book.looked(0.25)
    assert scraped(book.told([], 3)) == {
        ("memwatch_agent_detector_processes", ()): 3,
        ("memwatch_agent_detector_look_seconds_count", ()): 2,
        ("memwatch_agent_detector_look_seconds_sum", ()): 0.75,
    }


def test_what_stands_and_what_was_ever_told():
    """A gauge that goes down and a counter that does not, by service, type and severity."""
    book = Book()
    for pid in (7, 8):
        book.begin(process(pid=pid), leak(Severity.LOW))
    told = book.told([(process(), leak(Severity.HIGH))], 2)
    assert counted("memwatch_findings", told) == {("shop", "high", "memory_leak"): 1}
    assert counted("memwatch_leaks_detected_total", told) == {("shop", "low", "memory_leak"): 2}
    over = book.told([], 2)
    assert counted("memwatch_findings", over) == {}
    assert counted("memwatch_leaks_detected_total", over) == {("shop", "low", "memory_leak"): 2}


def test_the_time_to_the_limit_and_its_interval():
    """Of a leak that meets a limit, with the process's labels and the figure; of no other."""
    timed = leak(
        seconds_to_limit=3600.0, seconds_to_limit_low=1800.0, seconds_to_limit_high=math.inf
    )
    found = scraped(Book().told([(process(), timed), (process(pid=8), leak())], 2))
    labels = (
        *(("container", ""), ("figure", "rss"), ("pid", "7")),
        *(("runtime", "python"), ("service", "shop")),
    )
    assert {name: value for (name, of), value in found.items() if of == labels} == {
        "memwatch_target_limit_seconds": 3600,
        "memwatch_target_limit_earliest_seconds": 1800,
        "memwatch_target_limit_latest_seconds": math.inf,
    }
    assert not [name for name, of in found if ("pid", "8") in of]


def test_services_without_end_are_counted_together(monkeypatch):
    """The first have series of their own, the others share one; names are cut, values kept."""
    monkeypatch.setattr(detected, "MAX_SERVICES", 2)
    book = Book()
    services = ["x" * 1000 + '"\n', "shop", *(f"job-{number}" for number in range(50))]
    for service in services:
        book.begin(process(service), leak())
    told = book.told([(process(service), leak()) for service in services], 52)
    for name in ("memwatch_findings", "memwatch_leaks_detected_total"):
        assert {service: n for (service, *_), n in counted(name, told).items()} == {
            "x" * MAX_LABEL_CHARS: 1,
            "shop": 1,
            "other": 50,
        }
