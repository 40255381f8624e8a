"""The verdict on small heaps made by hand."""

import json

import pytest

from memwatch_heap.verdict import explain
from tests.heap.modules import Module, with_cache


def reports(first, last):
    return range(10_001 + 2 * first, 10_001 + 2 * last, 2)


def test_a_map_that_only_grows_is_the_suspect():
    """Exact counts, the variable's name, the bytes, the rate and the samples are right."""
    heaps = [with_cache(reports(0, count), table_id=1001 + count) for count in (20, 50, 80)]
    verdict = explain(heaps, times=[0, 30, 60])
    (suspect,) = verdict.suspects
    assert verdict.verdict == "leaking"
    assert suspect.path == "app.js: cache (Map) → Report"
    assert (suspect.new_count, suspect.new_bytes, suspect.counts) == (60, 2400, (20, 50, 80))
    assert suspect.per_second == 1.0
    assert suspect.samples == (10_159, 10_157, 10_155)
    assert suspect.container_id == 1003


def test_growth_is_told_holder_by_holder():
    """Counts and sizes at each snapshot, and what came, went and stayed, leak or not."""
    heaps = [
        with_cache(reports(first, last), table_id=1001 + last)
        for first, last in ((0, 20), (10, 50), (20, 80))
    ]
    (holder,) = (h for h in explain(heaps).holders if h.container_id == 1003)
    assert (holder.path, holder.container_class) == ("app.js: cache (Map)", "Map")
    assert (holder.counts, holder.shallow_bytes) == ((20, 40, 60), (800, 1600, 2400))
    assert holder.retained_bytes == (880, 1680, 2480)
    assert (holder.new, holder.gone, holder.survived) == (60, 20, 0)


def test_two_snapshots_are_enough():
    """A container that held objects before, and let none go, is a leak at once."""
    verdict = explain([with_cache(reports(0, 20)), with_cache(reports(0, 50))])
    assert verdict.verdict == "leaking"
    assert verdict.suspects[0].new_count == 30
    assert verdict.suspects[0].per_second is None


def test_what_is_filled_once_is_left_open_and_then_cleared():
    """Two snapshots cannot tell loading from leaking; the third can."""
    empty, full = with_cache(range(0)), with_cache(reports(0, 50))
    assert explain([empty, full]).verdict == "growing, not sure"
    settled = explain([empty, full, full])
    assert settled.verdict == "not leaking"
    assert settled.cleared[0].state == "stopped growing"


def test_a_cache_whose_objects_change_is_cleared():
    """As many as before, all of them new, is turnover."""
    verdict = explain([with_cache(reports(0, 50)), with_cache(reports(50, 100))])
    assert verdict.verdict == "not leaking"
    assert verdict.suspects == ()


def test_a_container_that_is_replaced_is_followed_by_its_place():
    """A new Map with the old objects and more of them leaks; one with other objects does not."""
    before = with_cache(reports(0, 50), map_id=1003)
    grown = with_cache(reports(0, 90), map_id=2003, table_id=2001)
    other = with_cache(reports(50, 140), map_id=2003, table_id=2001)
    assert explain([before, grown]).suspects[0].counts == (50, 90)
    assert explain([before, grown]).verdict == "leaking"
    assert explain([before, other]).verdict == "not leaking"


def test_identical_heaps_have_no_suspects():
    """Nothing new is nothing to report."""
    heap = with_cache(reports(0, 50))
    verdict = explain([heap, heap])
    assert (verdict.verdict, verdict.new_bytes, verdict.grown_bytes) == ("not leaking", 0, 0)


def test_objects_that_nothing_but_weak_edges_reach_are_no_suspects():
    """What the collector may free is not held."""
    heaps = []
    for count in (20, 60):
        module = Module()
        cache = module.variable("cache", "WeakSet", 1003)
        table = module.table(cache, 1001)
        for node_id in reports(0, count):
            node = module.node("object", "Report", node_id=node_id, size=40)
            module.edge(table, "weak", "0", node)
        heaps.append(module.graph())
    assert explain(heaps).suspects == ()


def test_the_engines_own_growth_is_no_suspect():
    """Code, feedback and hidden classes come with warm-up."""
    heaps = []
    for count in (20, 60):
        module = Module()
        function = module.function("hot", 1003)
        module.edge(module.context, "context", "hot", function)
        for node_id in reports(0, count):
            edge = ("internal", "feedback")
            module.node("code", "(code)", node_id=node_id, size=40, held_by=function, edge=edge)
        heaps.append(module.graph())
    assert explain(heaps).verdict == "not leaking"


def test_the_function_that_fills_the_container_is_the_place():
    """Objects without a place are put down to the code that names container and method."""
    heaps = []
    for count in (20, 60):
        module = Module()
        module.edge(module.globals, "property", "read", module.function("read", 11, line=3))
        adder = module.function("remember", 13, line=29, words=("cache", "set"))
        module.edge(module.globals, "property", "remember", adder)
        cache = module.variable("cache", "Map", 1003)
        module.fill(module.table(cache, 1001), reports(0, count))
        heaps.append(module.graph())
    where = explain(heaps).suspects[0].where
    assert where is not None
    assert (where.script, where.line, where.what) == ("/srv/app.js", 30, "function remember")


def evicting(count, methods):
    """A module whose Map `cache` holds reports, with a function that uses it."""
    module = Module()
    trim = module.function("trim", 13, line=29, words=("cache", *methods))
    module.edge(module.globals, "property", "trim", trim)
    cache = module.variable("cache", "Map", 1003)
    module.fill(module.table(cache, 1001), reports(0, count))
    return module.graph()


def test_code_that_takes_objects_out_leaves_two_snapshots_open():
    """It may keep a bound that is not reached yet; a third snapshot decides."""
    heaps = [evicting(count, ["delete"]) for count in (20, 50, 80)]
    (suspect,) = explain(heaps[:2]).suspects
    assert suspect.state == "growing, not sure"
    assert "function trim (app.js:30) takes objects out" in suspect.why[-1]
    assert explain(heaps).verdict == "leaking"
    assert explain([evicting(20, ["set"]), evicting(50, ["set"])]).verdict == "leaking"


def test_files_are_read_one_by_one(tmp_path):
    """Paths do as well as graphs, packed or not, and name the snapshots."""
    paths = []
    for count in (20, 50):
        module = Module()
        module.fill(module.table(module.variable("cache", "Map", 1003), 1001), reports(0, count))
        paths.append(tmp_path / f"{count}.heapsnapshot")
        paths[-1].write_bytes(module.text())
    verdict = explain(paths)
    assert [facts.name for facts in verdict.snapshots] == ["20.heapsnapshot", "50.heapsnapshot"]
    assert verdict.verdict == "leaking"


def test_the_document_is_small_and_named():
    """The JSON starts with its format and version and says what the values say."""
    verdict = explain([with_cache(reports(0, 20)), with_cache(reports(0, 50))])
    document = json.loads(verdict.to_json())
    assert list(document)[:3] == ["format", "version", "verdict"]
    assert document["format"] == "memwatch.verdict"
    assert document["suspects"][0]["new_count"] == 30


@pytest.mark.parametrize(
    ("count", "times", "problem"),
    [
        (1, None, "cannot compare 1 snapshot(s): at least two are needed"),
        (2, [0.0], "cannot compare: 2 snapshots, but 1 times"),
    ],
)
def test_too_little_to_compare_is_said(count, times, problem):
    """One snapshot, or times that do not fit, is an error with both numbers."""
    with pytest.raises(ValueError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        explain([with_cache(reports(0, 20))] * count, times)
