"""`metrics.py`: what an app tells, bounded, kept whole over threads and forgotten over forks."""

import json
import os
import threading

import pytest

from memwatch_hook import metrics, wire
from tests.hook.client import connected, wait_for_sockets
from tests.support import processes

FORKING = """
import os, time
from memwatch_hook import metrics
metrics.counter("orders", 2, {"shop": "north"})
metrics.histogram("sizes", 3, buckets=(1, 5))
if os.fork() == 0:
    metrics.counter("orders", 5, {"shop": "south"})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def store():
    return metrics.Store()


def told(store):
    """Every series of a store, by name and label values, as an agent reads it page by page."""
    found, offset = {}, 0
    while offset is not None:
        page = store.page(offset, 5_000)
        json.dumps(page, allow_nan=False)
        assert len(wire.result(1, page)) <= wire.MAX_JSON_BYTES
        for family in page["families"]:
            for key, value in family["series"]:
                found[family["name"], *key] = value
        offset = page["next"]
    return found


def tell(store, kind, name, value, labels=None, option=None, **more):
    option = option or {"gauge": "sum", "counter": None, "histogram": (1, 5)}[kind]
    store.tell(kind, name, value, labels or {}, "", option, **more)


def test_figures_told_together_are_looked_up_once(store):
    """All are told or none; a row's names and labels are asked for once, and again after a fork."""
    asked = []

    def figures():
        asked.append(1)
        return [
            metrics.Figure("counter", "calls", {"kind": "a"}, ""),
            metrics.Figure("histogram", "sizes", {}, "", (1, 5)),
        ]

    for value in (1, 5, float("nan"), 6):
        store.tell_together("a", (1, value), figures)
    store.tell_together("b", (-1, 0), figures)
    store.tell_together("c", (1, "x"), figures)

    assert told(store) == {("calls", "a"): 3.0, ("sizes",): [12.0, 1, 1, 1]}
    assert len(asked) == 2
    assert store.dropped == 6
    store.forget()
    store.tell_together("a", (1, 1), figures)
    assert told(store) == {("calls", "a"): 1.0, ("sizes",): [1.0, 1, 0, 0]}


def test_gauges_are_set_counters_added_and_histograms_filled(store):
    """Each kind keeps what its name says; a bucket's bound belongs to the bucket."""
    for value in (1, 5, 6):
        tell(store, "gauge", "depth", value)
        tell(store, "counter", "calls", value, {"kind": "a"})
        tell(store, "histogram", "sizes", value)
    tell(store, "gauge", "peak", 9, peak=True)
    tell(store, "gauge", "peak", 4, peak=True)

    assert told(store) == {
        ("depth",): 6.0,
        ("calls", "a"): 12.0,
        ("sizes",): [12.0, 1.0, 1.0, 1.0],
        ("peak",): 9.0,
    }
    assert store.dropped == 0


@pytest.mark.parametrize(
    ("kind", "name", "value", "labels", "option"),
    [
        ("counter", "Bad", 1, {}, None),
        ("counter", "a b", 1, {}, None),
        ("counter", "", 1, {}, None),
        ("counter", None, 1, {}, None),
        ("counter", "x" * 65, 1, {}, None),
        ("counter", "calls", -1, {}, None),
        ("counter", "calls", float("nan"), {}, None),
        ("counter", "calls", float("inf"), {}, None),
        ("counter", "calls", "much", {}, None),
        ("counter", "calls", None, {}, None),
        ("counter", "calls", 1, {"le": "x"}, None),
        ("counter", "calls", 1, {"service": "x"}, None),
        ("counter", "calls", 1, {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}, None),
        ("counter", "calls", 1, ["a"], None),
        ("gauge", "depth", 1, {}, "mean"),
        ("histogram", "sizes", 1, {}, (5, 1)),
        ("histogram", "sizes", 1, {}, tuple(range(21))),
        ("histogram", "sizes", 1, {}, 5),
    ],
)
def test_what_cannot_be_kept_is_dropped(store, kind, name, value, labels, option):
    """A wrong name, value or label raises nothing, changes nothing and is counted."""
    tell(store, kind, name, value, labels, option)

    assert store.dropped == 1
    assert not any(told(store).values())


def test_a_name_keeps_its_kind_and_labels(store):
    """A second use of a name as something else is dropped, the first stays."""
    tell(store, "counter", "calls", 1, {"a": "x"})
    tell(store, "gauge", "calls", 7, {"a": "x"})
    tell(store, "counter", "calls", 7, {"b": "x"})

    assert told(store) == {("calls", "x"): 1.0}
    assert store.dropped == 2


def test_the_number_of_series_is_bounded(store):
    """Labels that never repeat end up in one series named other, and so do long ones not."""
    for number in range(metrics.MAX_SERIES_PER_NAME + 500):
        tell(store, "counter", "calls", 1, {"user": number, "text": 'é\n"' * 100})

    found = told(store)
    assert len(found) == metrics.MAX_SERIES_PER_NAME + 1
    assert found["calls", "other", "other"] == 500
    assert max(len(text) for key in found for text in key) == metrics.MAX_LABEL_CHARS


def test_the_number_of_names_is_bounded(store):
    """Names beyond the limit are dropped; each name that was taken has a series for the rest."""
    for number in range(300):
        for label in range(10):
            tell(store, "counter", f"n{number}", 1, {"l": label})

    found = told(store)
    assert len({name for name, _ in found}) == metrics.MAX_FAMILIES
    assert len(found) <= metrics.MAX_SERIES + metrics.MAX_FAMILIES
    assert sum(found.values()) == metrics.MAX_FAMILIES * 10
    assert store.dropped == 1000


def test_threads_lose_no_count(store):
    """Counts of four threads add up."""

    def count():
        for _ in range(5_000):
            tell(store, "counter", "calls", 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told(store) == {("calls",): 20_000.0}


def test_a_finalizer_may_count_while_a_count_is_made(store):
    """A label whose text counts, too, does not stop the thread for ever."""

    class Counting:
        def __str__(self):
            tell(store, "counter", "inner", 1)
            return "x"

    with store._lock:
        tell(store, "counter", "outer", 1, {"a": Counting()})

    assert told(store) == {("inner",): 1.0, ("outer", "x"): 1.0}


def test_an_agent_asks_for_pages_and_a_child_begins_anew(some_python, hooked, hook_dir):
    """The wire tells what the process told; a fork counts for itself; a bad offset is refused."""
    with hooked(some_python, "-c", FORKING) as target:
        wait_for_sockets(hook_dir, 2)
        processes.wait_until(lambda: (hook_dir / "log").read_text().count("ready") == 2)
        by_pid = {}
        for path in wait_for_sockets(hook_dir, 2):
            with connected(path) as client:
                page = client.ask("metrics").body["result"]
                by_pid[client.hello["pid"]] = page
                assert client.ask("metrics", offset="x").body["reason"] == "BAD_REQUEST"
        parent = by_pid.pop(target.pid)
        [child] = by_pid.values()
    assert [row["series"] for row in parent["families"]] == [
        [[["north"], 2.0]],
        [[[], [3.0, 0.0, 1.0, 0.0]]],
    ]
    assert [row["series"] for row in child["families"]] == [[[["south"], 5.0]]]
    assert parent["next"] is None
    assert parent["dropped"] == 0


def test_memory_is_this_process_s_also_when_descriptors_are_closed_and_after_a_fork():
    """A daemon that closes everything, a number that is another file's now, a fork: all seen."""
    statm = metrics._Statm()
    assert statm.rss_bytes() > 1_000_000
    number = statm._descriptor
    os.close(number)
    assert statm.rss_bytes() > 1_000_000
    os.dup2(os.open(os.devnull, os.O_RDONLY), statm._descriptor)
    stolen = statm._descriptor
    assert statm.rss_bytes() > 1_000_000
    assert os.readlink(f"/proc/self/fd/{stolen}") == os.devnull
    os.close(stolen)
    statm._pid = 1  # as a forked child finds it
    assert statm.rss_bytes() > 1_000_000
    assert statm._pid == os.getpid()


def test_ready_made_calls(monkeypatch):
    """Memory, cache operations and leaks have names and labels of their own."""
    store = metrics.Store()
    monkeypatch.setattr(metrics, "store", store)
    metrics.memory_usage("queue", 10)
    metrics.memory_usage("queue", 4)
    metrics.memory_usage()
    metrics.cache_operation("default", hit=True)
    metrics.cache_operation("default", hit=False)
    metrics.cache_operation("default", "set")
    metrics.leak("growth", "high")
    metrics.gauge("depth", 2, about="Deep.", combine="max")
    metrics.counter("calls")
    metrics.histogram("wait_seconds", 0.2)

    found = told(store)
    assert found["memory_usage_bytes", "queue"] == 4
    assert found["memory_peak_bytes", "queue"] == 10
    assert found["memory_usage_bytes", "process"] > 1_000_000
    assert found["cache_operations", "default", "get", "hit"] == 1
    assert found["cache_operations", "default", "get", "miss"] == 1
    assert found["cache_operations", "default", "set", ""] == 1
    assert found["leaks_detected", "growth", "high"] == 1
    assert found["calls",] == 1
    assert metrics.dropped() == 0
