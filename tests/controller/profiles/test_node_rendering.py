"""Reports of Node's profiles: from artifacts made by hand, through the worker's own code."""

import gzip
import json
from typing import Any

import pytest
import zstandard

from memwatch_controller.profiles.rendering.pprof import pprof
from memwatch_controller.profiles.rendering.stacks import Frame, Tree, by_function
from memwatch_controller.profiles.reporting import RenderJob
from memwatch_controller.profiles.worker import answer


def node(id_: int, name: str, size: int, *children: Any, url: str = "file:///a.js") -> Any:
    """A node of a V8 profile."""
    frame = {"functionName": name, "url": url, "lineNumber": id_, "columnNumber": 0}
    return {"callFrame": frame, "selfSize": size, "id": id_, "children": list(children)}


def sampled(*children: Any, samples: tuple[int, ...] = ()) -> Any:
    """A V8 sampling heap profile."""
    found = [{"size": 1, "nodeId": id_, "ordinal": 1} for id_ in samples]
    return {"head": node(1, "(root)", 0, *children, url=""), "samples": found}


LEAK = sampled(node(2, "serve", 100, node(3, "</script><b>", 900)), samples=(2, 3, 3))
EARLIER = sampled(node(2, "serve", 150))


@pytest.fixture
def made(tmp_path):
    """Makes a report; its bytes, or why it cannot be made."""

    def run(kind, report, artifact, base=None, form="json"):
        paths = []
        for number, document in enumerate((artifact, base)):
            path = tmp_path / f"{number}.zst"
            path.write_bytes(zstandard.compress(json.dumps(document).encode()))
            paths.append(str(path) if document is not None else "")
        output = tmp_path / "report"
        path, base_path = paths
        where: dict[str, Any] = {"path": path, "base_path": base_path, "output": str(output)}
        job = RenderJob(kind, report, form, limit=100, memory_bytes=1 << 33, **where)
        said = answer(job)
        return said or output.read_bytes()

    return run


def test_samples_are_summed_by_function(made):
    """Own bytes, those of callees too, and how many samples there were."""
    rows = json.loads(made("sampling", "table", LEAK))["rows"]

    assert [(row["size_bytes"], row["total_bytes"], row["count"]) for row in rows] == [
        (900, 900, 2),
        (100, 1000, 1),
    ]
    assert rows[1]["location"] == "serve file:///a.js:3"


def test_a_tree_is_indented_and_a_difference_signed(made):
    """The tree goes from callers to callees; what is new and what is gone is in the difference."""
    tree = json.loads(made("sampling", "tree", LEAK))["rows"]
    diff = json.loads(made("sampling", "diff", LEAK, EARLIER))

    assert [row["location"].split("<")[0] for row in tree] == ["serve file:///a.js:3", "  "]
    assert [row["size_delta_bytes"] for row in diff["rows"]] == [900, -50]
    assert diff["totals"]["size_delta_bytes"] == 850


def test_a_flame_graph_is_one_page_in_which_names_are_data(made):
    """Nothing is fetched, and a function's name cannot end the script."""
    page = made("sampling", "flamegraph", LEAK, form="html").decode()

    assert "src=" not in page and "http" not in page
    assert page.count("</script>") == 2 and "\\u003c/script\\u003e" in page
    root = json.loads(made("sampling", "flamegraph", LEAK))["root"]
    assert (root["size_bytes"], root["children"][0]["size_bytes"]) == (1000, 1000)


def test_recursion_is_counted_once():
    """What a function that calls itself allocated is not in its total twice."""
    tree = Tree()
    root = tree.add(0, Frame("(root)"), 0, 0)
    outer = tree.add(root, Frame("walk"), 10, 1)
    tree.add(outer, Frame("walk"), 5, 1)

    assert [(row["size_bytes"], row["total_bytes"]) for row in by_function(tree)] == [(15, 15)]


def test_pprof_has_the_bytes_that_its_format_says():
    """One sample of one stack, pinned; long numbers take several bytes."""
    tree = Tree()
    root = tree.add(0, Frame("(root)"), 0, 0)
    tree.add(root, Frame("f", "/a.js", 7, 3), 300, 2)

    assert gzip.decompress(pprof(tree, 512)) == (
        b"\x0a\x04\x08\x01\x10\x02"  # sample_type: objects, count
        b"\x0a\x04\x08\x03\x10\x04"  # sample_type: space, bytes
        b"\x12\x08\x0a\x01\x01\x12\x03\x02\xac\x02"  # sample: location 1, 2 objects, 300 bytes
        b"\x22\x0a\x08\x01\x22\x06\x08\x01\x10\x07\x18\x03"  # location 1: function 1, line 7:3
        b"\x2a\x0a\x08\x01\x10\x05\x18\x05\x20\x06\x28\x07"  # function 1: f in /a.js from line 7
        b"\x5a\x04\x08\x03\x10\x04\x60\x80\x04"  # period: 512 bytes of space
        b"\x32\x00\x32\x07objects\x32\x05count\x32\x05space\x32\x05bytes\x32\x01f\x32\x05/a.js"
    )


def test_figures_of_every_look_are_in_the_table(made):
    """The first, the last and the highest of each."""
    look = {"memory": {"rss_bytes": 10}, "spaces": [{"name": "old_space", "used_bytes": 5}]}
    later = {"memory": {"rss_bytes": 8}, "gc": {"major": {"count": 2, "millis": 1.5}}}
    document = {"format": 1, "kind": "stats", "looks": [look, later]}
    rows = {row["name"]: row for row in json.loads(made("stats", "table", document))["rows"]}

    assert rows["memory.rss_bytes"]["delta"] == -2
    assert rows["memory.rss_bytes"]["highest"] == 10
    assert rows["gc.major.count"]["last"] == 2
    assert len(json.loads(made("stats", "series", document))["looks"]) == 2


def test_a_black_box_has_its_classes_or_says_why_not(made):
    """The most frequent class first; figures are there in any case."""
    looks = [{"memory": {"rss_bytes": 10}}]
    classes = {"objects": 12, "classes": 2, "rows": [["Order", 10], ["Map", 2]]}
    box = {"format": 1, "kind": "near-limit", "looks": looks, "classes": classes}
    counted = json.loads(made("near-limit", "classes", box))
    without = {**box, "classes": None, "classes_missing": "there is no memory for it"}

    assert counted["rows"][0] == {"name": "Order", "count": 10}
    assert counted["totals"] == {"count": 12}
    assert "no memory for it" in str(made("near-limit", "classes", without))
    assert json.loads(made("near-limit", "table", without))["rows"][0]["last"] == 10


def test_an_artifact_of_another_kind_is_refused_in_words(made):
    """The answer says what it is not."""
    assert "no 'head'" in made("sampling", "table", {"kind": "stats"})
    assert "the artifact" in made("node-allocations", "survivors", {"snapshot": {}})
