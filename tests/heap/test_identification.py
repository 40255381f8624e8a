"""Objects are told in a later snapshot by the ways that lead to them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_heap.comparison import compare_snapshots
from memwatch_heap.formats import read
from memwatch_heap.identification import StrangersError, renumbered, skeleton
from memwatch_heap.testing import HeapBuilder
from tests.heap.support import heaps, plain_twins
from tests.support import runtimes
from tests.support.processes import running

#: A program with four leaks and a bounded cache whose entries turn over.
PROGRAM = """
const v8 = require('v8'), EventEmitter = require('events');
class Report { constructor(n) { this.n = n; this.title = 'report ' + n; this.rows = [n, n + 1]; } }
const cache = new Map(), dict = {}, list = [], recent = new Map(), bus = new EventEmitter();
bus.setMaxListeners(0);
let made = 0;
function leak(count) {
  for (let i = 0; i < count; i++) {
    cache.set(made, new Report(made));
    dict['k' + made++] = { value: i };
    list.push({ a: i, b: [i] });
    bus.on('x', function handler() { return i; });
  }
}
function turnOver(count) {
  for (let i = 0; i < count; i++) {
    const key = Math.random();
    recent.set(key, { key, data: [1, 2] });
    if (recent.size > 300) recent.delete(recent.keys().next().value);
  }
}
leak(500); turnOver(2000);
v8.writeHeapSnapshot(process.argv[2]);
leak(200); turnOver(1000);
v8.writeHeapSnapshot(process.argv[3]);
"""


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """Two snapshots of the program, whose ids compare: the truth is known."""
    node = runtimes.any_node()
    if node is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    folder = tmp_path_factory.mktemp("snapshots")
    (folder / "app.js").write_text(PROGRAM)
    files = [folder / "a.heapsnapshot", folder / "b.heapsnapshot"]
    with running([node, folder / "app.js", *files]) as process:
        assert process.wait(60) == 0
    return files


def verdict_of(snapshots, kept):
    """The verdict over snapshots, by ids or by place."""
    verdict = compare_snapshots(snapshots, keeps_ids=lambda _: kept).verdict
    assert verdict
    return verdict


def test_same_answer_as_by_ids(snapshots):
    """Without ids the verdict is that with them: suspects, counts, places and own ids."""
    by_id, by_place = verdict_of(snapshots, True), verdict_of(snapshots, False)

    assert (by_id.told_by, by_place.told_by) == ("id", "place")
    assert by_place.verdict == by_id.verdict == "leaking"
    assert facts(by_place) == facts(by_id)
    assert [suspect.new_count for suspect in by_place.suspects] == [200] * 4
    assert all("told by the way" in suspect.why[-1] for suspect in by_place.suspects)
    assert not any("recent" in suspect.path for suspect in by_place.suspects)


def facts(verdict):
    """What a reader sees of the suspects."""
    return [
        (s.path, s.counts, s.new_count, s.where, s.container_id, s.samples)
        for s in verdict.suspects
    ]


def test_most_objects_are_told_right(snapshots):
    """Nine in ten old objects get their own id back; hardly an old one is taken for a new one."""
    old, new = (read(file) for file in snapshots)
    found, _, share = renumbered(new, skeleton(old))

    truly_old = np.isin(new.node_id, old.node_id)
    right = (found.node_id == new.node_id) & truly_old
    taken_for_new = truly_old & ~np.isin(found.node_id, old.node_id)
    assert share > 0.95
    assert right.sum() > 0.9 * truly_old.sum()
    assert taken_for_new.sum() < 0.03 * truly_old.sum()
    assert len(set(found.node_id.tolist())) == found.node_count


def test_strangers_have_no_verdict(snapshots):
    """Where next to nothing is found again there is no verdict, and the share is told."""
    graph = read(snapshots[0])
    names = np.random.default_rng(7).permutation(graph.node_name)
    problems: list[Exception] = []
    found = compare_snapshots(
        [graph, replace(graph, node_name=names)],
        keeps_ids=lambda _: False,
        on_failure=problems.append,
    )

    assert found.verdict is None
    assert found.rows
    assert isinstance(problems[0], StrangersError)
    assert "compare snapshots of one program" in str(problems[0])


def queue_of(texts, first_id, *, linked):
    """A heap whose queue holds an object for each text: in a table, or each by the one before."""
    heap = HeapBuilder()
    holder = heap.node("object", "Queue", size=32, node_id=3, held_by=heap.root)
    if not linked:
        holder = heap.node("array", "", size=32, node_id=5, held_by=holder, edge=("internal", "t"))
    for place, text in enumerate(texts):
        edge = ("property", "next") if linked else ("element", place)
        job = heap.node("object", "Job", size=32, node_id=first_id, held_by=holder, edge=edge)
        heap.node(
            "string", text, size=16, node_id=first_id + 2, held_by=job, edge=("property", "name")
        )
        first_id += 4
        holder = job if linked else holder
    return heap.graph()


@pytest.mark.parametrize("linked", [False, True])
def test_entries_are_told_by_their_texts(linked):
    """What turns over in a queue is gone and new, whatever its place; what stays is told."""
    old = queue_of("abcd", 101, linked=linked)
    new = queue_of("adefgh" if linked else "dghaef", 501, linked=linked)
    found, _, _ = renumbered(new, skeleton(old))

    def jobs(graph, ids):
        every = [node for node in range(graph.node_count) if graph.name_of(node) == "Job"]
        texts = [graph.name_of(int(graph.edge_to[graph.edges_of(node)[0]])) for node in every]
        return {text: int(ids[node]) for text, node in zip(texts, every, strict=True)}

    before, after = jobs(old, old.node_id), jobs(new, found.node_id)
    stayed = {text for text, one in after.items() if one in before.values()}
    assert stayed == ({"a"} if linked else {"a", "d"})
    assert all(after[text] == before[text] for text in stayed)


@settings(max_examples=150, deadline=None)
@given(heaps(), heaps())
def test_the_twin_pairs_the_same(before, after):
    """The kernels and their plain twins give the same ids."""
    fast, _, share = renumbered(after.graph(), skeleton(before.graph()))
    with plain_twins():
        slow, _, share_ = renumbered(after.graph(), skeleton(before.graph()))
    assert (fast.node_id == slow.node_id).all()
    assert share == share_


@settings(max_examples=100, deadline=None)
@given(heaps(), st.randoms(use_true_random=False))
def test_a_heap_is_found_in_itself(heap, random):
    """All that can be reached by strong edges is told, and told as itself."""
    graph = heap.graph()
    found, _, _ = renumbered(graph, skeleton(graph))
    known = np.isin(found.node_id, graph.node_id)
    assert (found.node_id[known] == graph.node_id[known]).all()
