import json
import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller import model
from memwatch_controller.analysis import document
from memwatch_controller.analysis.jobs import ClassChange, Comparison, Totals
from tests.controller.builders import snapshot

DOCS = Path(__file__).parents[3] / "docs" / "formats" / "report.md"
PAIR = (
    snapshot("n-1", capture_time=0, walk=None),
    snapshot("n-2", phase="after", capture_time=300_000, walk=None),
)


def change(name: str, before: int, after: int, each: int = 64) -> ClassChange:
    grown = max(0, after - before)
    gone = max(0, before - after)
    return ClassChange(
        name, before, after, before * each, after * each, grown, grown * each, gone, gone * each
    )


def comparison(*changes: ClassChange, by_id: bool = True) -> Comparison:
    before = sum(c.shallow_size_before_bytes for c in changes)
    after = sum(c.shallow_size_after_bytes for c in changes)
    objects = sum(c.count_before for c in changes), sum(c.count_after for c in changes)
    totals = (Totals(objects[0], before), Totals(objects[1], after))
    return Comparison(by_id, totals, changes, len(changes))


def walked(number: int, rss: int, heap: int):
    """A snapshot of a walker's, with the process's memory then."""
    walk = model.HeapWalk(walker="c", objects=9, heap_bytes=heap << 20, rss_bytes=rss << 20)
    return snapshot(f"n-{number}", capture_time=number, walk=walk)


def test_memory_in_no_object_has_its_own_line():
    """RSS less the objects stands beside each snapshot; a note says where most growth is there."""
    found = comparison(change("Report", 1000, 5000))
    made = document.document("r", "s", "t", 1, (walked(1, 100, 60), walked(2, 190, 70)), found)
    assert (made["before"]["rss_bytes"], made["before"]["unexplained_bytes"]) == (
        100 << 20,
        40 << 20,
    )
    assert made["after"]["unexplained_bytes"] == 120 << 20
    assert made["snapshots"][1]["unexplained_bytes"] == 120 << 20
    [note] = made["notes"]
    assert note.startswith("the process grew by 90.0 MiB, and 80.0 MiB of it is in no object")


def test_memory_that_objects_explain_needs_no_note():
    """Growth of objects, and snapshots without a walker's figures, have no such note."""
    found = comparison(change("Report", 1000, 5000))
    for pair in ((walked(1, 100, 60), walked(2, 190, 145)), PAIR, (PAIR[0], walked(2, 190, 70))):
        assert document.document("r", "s", "t", 1, pair, found)["notes"] == []
    plain = document.document("r", "s", "t", 1, PAIR, found)
    assert "unexplained_bytes" not in plain["before"]


def test_summary_names_what_grew_with_figures():
    """Objects, bytes and percent of the class that grew most, then the whole heap."""
    found = comparison(change("Report", 1000, 5000), change("Map", 10, 10))
    assert document.summary(PAIR, found) == (
        "Report grew by 4,000 objects, 250.0 KiB (+400%); "
        "the whole heap grew by 250.0 KiB (+396.0%) and +4,000 objects in 5 min."
    )


def test_summary_names_the_programs_own_classes_first():
    """The runtime's arrays and strings are named after what the program made."""
    found = comparison(change("(array)", 1000, 90_000), change("Report", 0, 400))
    words = document.summary(PAIR, found)
    assert words.startswith(
        "Report grew by 400 objects, 25.0 KiB (there were none), (array) by 89,000 objects"
    )


def test_summary_of_a_heap_that_did_not_grow():
    """Nothing is named where nothing grew."""
    found = comparison(change("Report", 5000, 1000))
    assert document.summary(PAIR, found) == (
        "No class grew; the whole heap shrank by 250.0 KiB (-80.0%) and -4,000 objects in 5 min."
    )


def test_summary_begins_with_the_verdict():
    """Where there is a verdict it comes first, then the figures."""
    verdict = {"verdict": "leaking", "summary": "400 new Report are held by app.js: cache (Map)"}
    found = replace(comparison(change("Report", 0, 400)), verdict=verdict)
    assert document.summary(PAIR, found).startswith(
        "Leaking: 400 new Report are held by app.js: cache (Map). Report grew by 400 objects, "
    )


@given(name=st.text(max_size=300))
def test_class_names_are_data(name):
    """Any class name passes through the document, and cannot break the sentence's line."""
    found = comparison(change(name, 0, 5000))
    made = document.document("r-1", "s-1", "t-1", 0, PAIR, found)
    assert json.loads(document.text(made))["classes"][0]["class_name"] == name
    assert made["summary"].isprintable()
    assert len(made["summary"]) < 400


def test_documentation_lists_every_field():
    """docs/formats/report.md names each field of a document, and its example has just those."""
    made = document.document("r-1", "s-1", "t-1", 0, PAIR, comparison(change("A", 1, 2)))
    text = DOCS.read_text(encoding="utf-8")
    example = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])
    assert list(example) == list(made)
    for part in ("snapshots", "classes"):
        assert list(example[part][0]) == list(made[part][0])
    for field in (*made, *made["snapshots"][0], *made["classes"][0]):
        assert f"`{field}`" in text


def test_times_are_rfc_3339_in_utc():
    """Times carry milliseconds and a Z."""
    assert document.iso_time(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
