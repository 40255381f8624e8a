"""Compares every figure with Chrome DevTools' own code, on snapshots that are made here."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from memwatch_heap.classes import class_rows
from memwatch_heap.diff import census, compare_files, unmatched
from memwatch_heap.formats import read
from memwatch_heap.measures import measure
from memwatch_heap.statistics import statistics
from tests.support import runtimes

HERE = Path(__file__).parent
MODULES = runtimes.npm_modules()
MAJORS = (20, 22, 24)


def run(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    """Runs DevTools' heap snapshot model; its arguments are those of oracle.mjs."""
    node = runtimes.node(24)
    if node is None or not (MODULES / "chrome-devtools-frontend").exists():
        pytest.skip("needs Node 24 and npm's chrome-devtools-frontend: make test installs them")
    bundle = tmp_path_factory.mktemp("oracle") / "bundle.mjs"
    run(node, HERE / "build.mjs", MODULES, bundle)
    return lambda *arguments: run(node, bundle, *arguments)


@pytest.fixture(scope="session", params=MAJORS)
def pair(request, tmp_path_factory):
    """Two snapshots of one program, by each major version of Node."""
    node = runtimes.node(request.param)
    if node is None:
        pytest.skip(f"needs Node {request.param}: make test installs it")
    folder = tmp_path_factory.mktemp(f"node{request.param}")
    files = folder / "before.heapsnapshot", folder / "after.heapsnapshot"
    run(node, "--expose-gc", HERE / "app.js", *files)
    return files


@pytest.mark.parametrize("which", [0, 1], ids=["before", "after"])
def test_every_node_and_row_is_as_in_devtools(pair, which, oracle, tmp_path):
    """Ids, sizes, dominators, retained sizes, distances, classes and statistics are the same."""
    compare_with(oracle, pair[which], tmp_path)


def compare_with(oracle, snapshot: Path, folder: Path) -> None:
    oracle("nodes", snapshot, folder)
    graph = read(snapshot)
    mine = measure(graph)
    theirs = json.loads((folder / "classes.json").read_bytes())

    def differences(column: str, dtype: str, values) -> int:
        expected = np.fromfile(folder / f"{column}.bin", dtype)
        assert len(expected) == graph.node_count
        return int((expected != values).sum())

    natives = graph.node_type == graph.node_code("native")
    expected = np.fromfile(folder / "detached.bin", np.uint8)
    assert {
        "id": differences("id", "f8", graph.node_id),
        "self": differences("self", "f8", mine.sizes),
        "dominator": differences("dominator", "u4", mine.dominator),
        "retained": differences("retained", "f8", mine.retained),
        "distance": differences("distance", "i4", mine.distance),
        "detached": int((expected[natives] != mine.detached[natives]).sum()),
        "class": sum(
            mine.classes.names[c] != name
            for c, name in zip(mine.classes.of, theirs["classes"], strict=True)
        ),
    } == dict.fromkeys(("id", "self", "dominator", "retained", "distance", "detached", "class"), 0)
    assert [
        {"name": definition.name, "properties": list(definition.properties)}
        for definition in mine.classes.definitions
    ] == [{key: row[key] for key in ("name", "properties")} for row in theirs["definitions"]]
    rows = {
        row.key: [row.name, row.count, row.shallow_bytes, row.retained_bytes, row.distance]
        for row in class_rows(graph, mine)
    }
    keys = ("name", "count", "self", "retained", "distance")
    assert rows == {row["key"]: [row[key] for key in keys] for row in theirs["rows"]}
    assert len(rows) > 100
    assert statistics(graph, mine).as_devtools() == theirs["statistics"]


def test_every_row_of_a_comparison_is_as_in_devtools(pair, oracle, tmp_path):
    """New and gone counts, sizes and ids of every class are those of the Comparison view."""
    oracle("diff", *pair, tmp_path)
    theirs = json.loads((tmp_path / "diff.json").read_bytes())
    mine = [row for row in compare_files(*pair) if row.new_count or row.gone_count]
    assert {
        row.key: [row.name, row.new_count, row.new_bytes, row.gone_count, row.gone_bytes]
        for row in mine
    } == {
        row["key"]: [row["name"]]
        + [row[k] for k in ("added", "addedSize", "removed", "removedSize")]
        for row in theirs
    }
    after = census(read(pair[1]))
    before = census(read(pair[0]), after.definitions)
    gone, new = unmatched(before, after)
    for one, flags, ids in ((before, gone, "removedIds"), (after, new, "addedIds")):
        found: dict[str, list[int]] = {}
        for place in np.flatnonzero(flags):
            found.setdefault(one.keys[one.of[place]], []).append(int(one.ids[place]))
        assert found == {row["key"]: row[ids] for row in theirs if row[ids]}


def test_a_page_with_detached_dom_is_as_in_devtools(oracle, tmp_path):
    """A snapshot of headless Chromium, with DOM that only scripts hold, gives the same figures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium on the PATH (Debian: apt-get install chromium)")
    snapshot = tmp_path / "page.heapsnapshot"
    run(runtimes.node(24), HERE / "chromium.mjs", chromium, tmp_path / "profile", snapshot)
    compare_with(oracle, snapshot, tmp_path)
    graph = read(snapshot)
    assert measure(graph).detached.sum() > 100
