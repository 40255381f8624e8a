"""Reports of artifacts made by hand, and of a real memray file, through the worker's own code."""

import json
from dataclasses import replace
from typing import Any

import pytest
import zstandard

from memwatch_controller.profiles.reporting import RenderJob
from memwatch_controller.profiles.worker import answer

TYPES: dict[str, Any] = {
    "format": 1,
    "kind": "types",
    "method": "gc",
    "looks": [
        {
            "count": 6,
            "size_bytes": 600,
            "types": 2,
            "rows": [["dict", 4, 400], ["shop.Row", 2, 200]],
        },
        {
            "count": 9,
            "size_bytes": 900,
            "types": 2,
            "rows": [["shop.Row", 6, 600], ["dict", 3, 300]],
        },
    ],
}
ALLOCATIONS: dict[str, Any] = {
    "format": 1,
    "kind": "allocations",
    "was_on": False,
    "before": {"count": 0, "size_bytes": 0},
    "after": {"count": 4010, "size_bytes": 193000},
    "files": ["/app/models.py", "/app/main.py"],
    "frame_table": [[0, 88], [1, 12], [1, 30]],
    "stacks": [[0, 0, 4000, 192000, [0, 1]], [0, 0, 10, 1000, [0, 2]]],
}


@pytest.fixture
def job(tmp_path):
    """Makes a job for an artifact and, perhaps, an earlier one."""

    def made(report, document, base=None, form="json", **changes):
        paths = []
        for number, one in enumerate((document, base)):
            data = one if isinstance(one, bytes) else json.dumps(one).encode()
            path = tmp_path / f"{number}.zst"
            path.write_bytes(zstandard.ZstdCompressor().compress(data))
            paths.append(str(path) if one is not None else "")
        kind = "native" if isinstance(document, bytes) else document["kind"]
        fields = RenderJob(
            kind=kind,
            report=report,
            format=form,
            path=paths[0],
            base_path=paths[1],
            output=str(tmp_path / "out"),
            limit=100,
            memory_bytes=1 << 30,
            notes=["n"],
        )
        return replace(fields, **changes)

    return made


def rendered(job):
    """The report of a job, as JSON."""
    assert answer(job) == ""
    with open(job.output, encoding="utf-8") as file:
        return json.load(file)


def test_types_by_growth(job):
    """Two looks are compared; the totals are of all types."""
    found = rendered(job("table", TYPES))
    assert [(row["name"], row["count"], row["count_delta"]) for row in found["rows"]] == [
        ("shop.Row", 6, 4),
        ("dict", 3, -1),
    ]
    assert found["totals"] == {
        "count": 9,
        "size_bytes": 900,
        "count_delta": 3,
        "size_delta_bytes": 300,
    }
    assert found["notes"][0] == "n"
    once = {**TYPES, "looks": TYPES["looks"][:1]}
    assert [row["name"] for row in rendered(job("table", once))["rows"]] == ["dict", "shop.Row"]


def test_types_of_two_profiles(job):
    """The last look of each; a row more than the limit is counted, not shown."""
    earlier = {**TYPES, "looks": TYPES["looks"][:1], "method": "pympler"}
    found = rendered(job("diff", TYPES, earlier, limit=1))
    assert found["rows"] == [
        {
            "name": "shop.Row",
            "count": 6,
            "size_bytes": 600,
            "count_delta": 4,
            "size_delta_bytes": 400,
        }
    ]
    assert found["row_count"] == 2
    assert any("do not compare" in note for note in found["notes"])


def test_allocations_by_line_and_stack(job):
    """Stacks of one line are one row; the innermost frame comes first."""
    [line] = rendered(job("lines", ALLOCATIONS))["rows"]
    assert (line["location"], line["count"], line["size_delta_bytes"]) == (
        "/app/models.py:88",
        4010,
        193000,
    )
    stacks = rendered(job("stacks", ALLOCATIONS))["rows"]
    assert stacks[0]["frames"] == ["/app/models.py:88", "/app/main.py:12"]
    assert [row["count"] for row in stacks] == [4000, 10]


def test_allocations_of_two_profiles(job):
    """What the later has more than the earlier, by line."""
    earlier = {**ALLOCATIONS, "stacks": [[0, 0, 100, 4800, [0, 1]]]}
    [row] = rendered(job("diff", ALLOCATIONS, earlier))["rows"]
    assert (row["count"], row["count_delta"]) == (4010, 3910)


def test_a_flame_graph_is_a_tree_from_the_outermost_frame(job):
    """Every node sums what is below it."""
    root = rendered(job("flamegraph", ALLOCATIONS))["root"]
    assert (root["count"], root["size_bytes"]) == (4010, 193000)
    first = root["children"][0]
    assert (first["name"], first["count"]) == ("/app/main.py:12", 4000)
    assert first["children"][0]["name"] == "/app/models.py:88"


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({**TYPES, "format": 2}, "update the controller"),
        ({**TYPES, "looks": []}, "index out of range"),
        ({"kind": "types", "format": 1}, "KeyError"),
    ],
)
def test_a_strange_artifact_is_a_sentence(job, document, match):
    """Never a trace, never a half report."""
    assert match in answer(job("table", document))


def test_the_artifact_itself(job):
    """Raw: what the profiler wrote."""
    wanted = job("artifact", TYPES, form="raw")
    assert answer(wanted) == ""
    with open(wanted.output, "rb") as file:
        assert json.load(file) == TYPES


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A real capture file of memray, and an aggregated one."""
    memray = pytest.importorskip("memray")
    files = []
    for number, kind in enumerate(memray.FileFormat):
        path = tmp_path_factory.mktemp("memray") / f"{number}.bin"
        with memray.Tracker(path, file_format=kind):
            kept = [bytearray(size) for size in (1_000_000, 2_000_000)]
        assert kept
        files.append(path.read_bytes())
    return files


@pytest.mark.parametrize("report", ["summary", "table", "tree"])
def test_native_tables(job, capture, report):
    """Memray's own figures as rows: this file leads them, with 3 MB."""
    found = rendered(job(report, capture[0]))
    sizes = [row.get("size_bytes", row.get("total_bytes")) for row in found["rows"]]
    assert sizes[0] >= 3_000_000
    assert any("test_rendering.py" in row["location"] for row in found["rows"])
    assert all(set(row) >= {key for key, _, _ in found["columns"]} for row in found["rows"])


@pytest.mark.parametrize("report", ["flamegraph", "leaks", "table"])
def test_native_pages(job, capture, report):
    """A page of its own: it loads nothing from elsewhere."""
    wanted = job(report, capture[1], form="html")
    assert answer(wanted) == ""
    with open(wanted.output, encoding="utf-8") as file:
        page = file.read()
    assert "test_rendering.py" in page
    assert 'src="http' not in page
    assert '<link href="http' not in page


def test_native_statistics(job, capture):
    """Memray's own statistics; an aggregated file has none, and says so."""
    stats = rendered(job("stats", capture[0]))["stats"]
    assert stats["total_bytes_allocated"] >= 3_000_000
    assert "'aggregate' has no statistics" in answer(job("stats", capture[1]))


def test_a_file_of_another_memray_names_both(job, capture):
    """The sentence has the version that wrote it, ours, and what to do."""
    wrong = capture[0][:8] + b"\xff\x00\x00\x00" + capture[0][12:]
    said = answer(job("table", wrong, notes=["memray 9.9.9"]))
    assert "cannot read what memray 9.9.9 wrote" in said
    assert "bring both to one version" in said
