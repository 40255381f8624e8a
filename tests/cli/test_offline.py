"""Snapshot files without a server: what they hold, what leaks, who holds what."""

import io
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from memwatch_heap.diff import DiffRow
from memwatch_proto.v1 import reports_pb2 as pb
from memwatchctl import offline, verdicts
from memwatchctl.output import Output
from tests.cli.conftest import Cli, Inside
from tests.cli.test_private import get

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def snapshots():
    """Two snapshots of a leaking Python service, 400 objects apart, and the program beside them."""
    from tests.support.processes import free_port, wait_until
    from tests.support.stack import python_service

    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        here, port = Cli(Path(name)), free_port()
        (here.home / "h").mkdir(mode=0o700)
        service = python_service(Path(sys.executable), port, service="shop", hooks=here.home / "h")
        with service as process:
            wait_until(lambda: os.path.exists(f"/proc/{process.pid}") and is_up(port))
            for number, count in enumerate((100, 400), 1):
                get(port, f"/leak?n={count}")
                file = here.home / f"{number}.heapsnapshot"
                done = here("snapshot", "--pid", process.pid, "--output", file)
                assert done.returncode == 0, done.stderr
        yield Inside(here.home)


def is_up(port):
    """Whether the service answers."""
    try:
        return get(port, "/stats")
    except OSError:
        return False


CLASS = "__main__.LeakedReport"


def test_compare(snapshots):
    """The leak is the first suspect, with its exact count and its holder; CI may fail on it."""
    done = snapshots(
        "compare", "1.heapsnapshot", "2.heapsnapshot", "--classes", "-o", "json",
        "--fail-on", "growing", "--html", "out.html", seconds=120,
    )  # fmt: skip

    assert done.returncode == 9, done.stderr
    document = json.loads(done.stdout)
    suspect = document["verdict"]["suspects"][0]
    assert (suspect["object_class"], suspect["new_count"]) == (CLASS, 400)
    assert "REPORT_CACHE" in suspect["path"]
    (row,) = (row for row in document["classes"] if row["class_name"] == CLASS)
    assert (row["count_before"], row["count_after"]) == ("100", "500")
    assert "<section" in (snapshots.home / "out.html").read_text()


def test_compare_for_people(snapshots):
    """The verdict, the path and the place in the code are lines."""
    text = snapshots("compare", "1.heapsnapshot", "2.heapsnapshot", seconds=120).stdout

    assert text.startswith(("LEAKING", "GROWING, NOT SURE"))
    assert "REPORT_CACHE" in text
    assert "400 new __main__.LeakedReport" in text


def test_analyze(snapshots):
    """Classes with exact counts, and retained sizes."""
    done = snapshots("analyze", "2.heapsnapshot", "-o", "json", seconds=120)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (row,) = (row for row in document["classes"] if row["class_name"] == CLASS)
    assert row["count"] == 500
    assert row["retained_size_bytes"] > row["shallow_size_bytes"] > 0


def test_query(snapshots):
    """Objects of a class, one's path and its retainers; the index is made once."""

    def query(*words):
        done = snapshots("query", "2.heapsnapshot", *words, "-o", "json", seconds=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    found = query("--class", CLASS, "--limit", "2")
    assert (len(found["objects"]), found["total"]) == (2, 500)
    index = snapshots.home / ("2.heapsnapshot" + offline.INDEX_SUFFIX)
    made = index.stat().st_mtime_ns
    node = found["objects"][0]["id"]
    assert query("--path", node)["edges"][-1]["object"]["id"] == node
    assert query("--retainers", node)["total"] >= 1
    assert query("--object", node)["objects"][0]["class_name"] == CLASS
    assert query("--largest", "--limit", "1")["total"] > 1
    assert query("--largest-shallow", "--limit", "1")["objects"][0]["shallow_size_bytes"] > 1000
    assert query("--named", CLASS, "--limit", "900")["total"] >= 500
    assert query("--duplicates", "--limit", "1")["strings"][0]["count"] > 1
    assert query("--closures") == {"scopes": [], "total": 0}
    (holder,) = {e["object"]["id"] for e in query("--path", node)["edges"][-2:-1]}
    assert query("--path", node, "--ignore", holder)["edges"] == []
    assert index.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--object", "999999999999"), 1, "cannot find node 999999999999"),
        (("--class", "nosuch"), 2, "there is none"),
        ((), 2, "one question at a time"),
        (("--largest", "--object", "1"), 2, "one question at a time"),
        (("--largest", "--ignore", "1"), 2, "--ignore goes with"),
    ],
)
def test_query_refuses(snapshots, words, code, said):
    """A question that cannot be answered is one line."""
    done = snapshots("query", "2.heapsnapshot", *words, seconds=120)
    assert done.returncode == code
    assert said in done.stderr


@pytest.mark.parametrize("command", ["analyze", "compare", "query"])
def test_no_snapshot(lone, command):
    """A file that is no snapshot is refused in one line that says where it goes wrong."""
    (lone.home / "a").write_text('{"snapshot": {"meta"')
    words = {"compare": ["a", "a"], "query": ["a", "--largest"]}.get(command, ["a"])
    done = lone(command, *words, seconds=120)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("cannot read heap snapshot")
    assert "Traceback" not in done.stderr


def row(name, before, after, gone):
    """A class of one object's size."""
    new = after - before + gone
    return DiffRow(name, name, before, after, before, after, new, new, gone, gone)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([], True),
        ([row("(string)", 100, 100, 100)], True),
        ([row("A", 1, 1, 0), row("B", 1, 1, 0), row("Cache", 10**6, 10**6, 10**6)], True),
        ([row("A", 1, 1, 1), row("B", 1, 1, 1), row("C", 10, 10, 9)], False),
        ([row("New", 0, 5, 0), row("A", 1, 1, 1)], False),
    ],
)
def test_keeps_ids(rows, kept):
    """A program that exchanges its data keeps ids; one that was numbered anew does not."""
    assert offline.keeps_ids(rows) is kept


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (
            ["session_a_1700000000000_before_x", "session_a_1700000005000_after_x"],
            [1.7e9, 1.7e9 + 5],
        ),
        (["session_a_1700000005000_before_x", "session_a_1700000000000_after_x"], None),
        (["a", "session_a_1700000000000_after_x"], None),
    ],
)
def test_times_of(names, times):
    """Times are read from names of ours, where all have one and they rise."""
    assert offline.times_of([Path(name) for name in names]) == times


def test_without_verdict():
    """A summary does not say the verdict twice."""
    verdict = {"verdict": "not leaking", "summary": "nothing stays"}
    assert verdicts.without_verdict("Not leaking: nothing stays. A grew.", verdict) == "A grew."
    assert verdicts.without_verdict("A grew.", verdict) == "A grew."


def test_reports_are_shown_by_their_typed_verdict():
    """State, figures and place come from the message; a report without one has none."""
    suspect = pb.Suspect(
        state=pb.VERDICT_STATE_GROWING,
        path="app.js: cache (Map) → Report",
        new_count=4000,
        new_size_bytes=2048,
        reasons=["objects: 10 → 4010"],
        location=pb.SourceLocation(script="/srv/app.js", what="module"),
    )
    verdict = pb.Verdict(state=pb.VERDICT_STATE_LEAKING, confidence=0.75, suspects=[suspect])
    found = verdicts.of_report(pb.Report(verdict=verdict))
    assert found is not None
    stream = io.StringIO()
    verdicts.show(Output("table", no_color=True, stream=stream), found)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("LEAKING (75 % sure)")
    assert "4,000 new " in lines[3]
    assert lines[4] == "   from /srv/app.js (module)"
    assert lines[5] == "   growing, not sure (0 %): objects: 10 → 4010"
    with pytest.raises(verdicts.VerdictError):
        verdicts.check(found, "leaking")
    assert verdicts.of_report(pb.Report()) is None
    verdicts.check(None, "leaking")
