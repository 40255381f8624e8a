import json

from memwatch_controller.api.convert_verdicts import verdict_to_pb
from memwatch_heap.report import AllocationSite, Cleared, SnapshotFacts, Suspect, Verdict, Where
from memwatch_proto.v1 import reports_pb2 as pb

HOSTILE = "<script>alert(1)</script>\x00\n"

VERDICT = Verdict(
    verdict="leaking",
    confidence=0.95,
    summary=f"240 new {HOSTILE}",
    snapshots=(SnapshotFacts("n-1", 10, 1000), SnapshotFacts("n-2", 20, 900)),
    seconds=60.0,
    new_bytes=5000,
    explained=0.9,
    suspects=(
        Suspect(
            state="growing, not sure", confidence=0.4, why=("objects: 10 → 20", "so far"),
            root="app.js", name="bus", kind="EventEmitter", part="listeners of 'close'",
            path=HOSTILE, container_class="Array", container_id=2**40, container_size=20,
            object_class="Function", counts=(10, 20), new_count=10, new_bytes=4000,
            per_second=0.5, share=0.8, where=Where("/srv/app.js", 11, 0, "function"),
            samples=(7, 5), others=(("(string)", 3),), made_known=9,
            made_at=(AllocationSite("/srv/models.py", 88, 0, "f", 8, ("views.py:12",)),),
        ),
    ),
    left_out=2,
    cleared=(Cleared("app.js: pool", "turns over", (5, 6), "gone"),),
)  # fmt: skip


def message(**changes) -> pb.Verdict:
    return verdict_to_pb(json.loads(VERDICT.to_json()) | changes)


def test_every_value_of_the_document_is_typed():
    """States are enums, sizes are numbers with units, places and samples are there."""
    found = message()
    assert (found.state, found.confidence) == (pb.VERDICT_STATE_LEAKING, 0.95)
    assert (found.new_size_bytes, found.grown_size_bytes, found.interval_seconds) == (
        5000,
        -100,
        60,
    )
    assert (found.explained_share, found.left_out_count) == (0.9, 2)
    assert not found.told_by_place
    assert verdict_to_pb({"told_by": "place"}).told_by_place
    (suspect,) = found.suspects
    assert suspect.state == pb.VERDICT_STATE_GROWING
    assert (suspect.root, suspect.name, suspect.kind, suspect.part) == (
        "app.js", "bus", "EventEmitter", "listeners of 'close'",
    )  # fmt: skip
    assert (suspect.container_object_id, suspect.container_count) == (2**40, 20)
    assert (list(suspect.counts), suspect.new_count, suspect.new_size_bytes) == ([10, 20], 10, 4000)
    assert (suspect.new_per_second, suspect.share, suspect.object_class) == (0.5, 0.8, "Function")
    assert list(suspect.reasons) == ["objects: 10 → 20", "so far"]
    assert suspect.location == pb.SourceLocation(script="/srv/app.js", line=11, what="function")
    assert list(suspect.sample_object_ids) == [7, 5]
    (site,) = suspect.allocation_sites
    assert site.location == pb.SourceLocation(script="/srv/models.py", line=88, what="f")
    assert (site.count, list(site.callers), suspect.allocation_known_count) == (
        8, ["views.py:12"], 9,
    )  # fmt: skip
    (cleared,) = found.cleared
    assert (cleared.state, list(cleared.counts), cleared.reason) == ("turns over", [5, 6], "gone")


def test_names_from_the_program_are_data():
    """They arrive as they are, whatever they hold: who shows them escapes them."""
    assert (message().suspects[0].path, message().summary) == (HOSTILE, f"240 new {HOSTILE}")


def test_what_is_not_known_is_absent():
    """No time, no place; and a list of reports has no suspects."""
    bare = json.loads(VERDICT.to_json())["suspects"][0] | {"where": None, "per_second": None}
    found = message(seconds=None, suspects=[bare])
    assert not found.HasField("interval_seconds")
    assert not found.suspects[0].HasField("location")
    assert not found.suspects[0].HasField("new_per_second")
    short = verdict_to_pb(json.loads(VERDICT.to_json()), whole=False)
    assert (short.state, len(short.suspects)) == (pb.VERDICT_STATE_LEAKING, 0)


def test_a_newer_document_does_not_break_the_message():
    """A state that this version does not know is left unspecified."""
    assert message(verdict="leaking slowly").state == pb.VERDICT_STATE_UNSPECIFIED
