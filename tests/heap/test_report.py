"""The verdict as JSON, as text and as HTML: small, complete and safe."""

import json
from dataclasses import replace

import pytest

from memwatch_heap import render
from memwatch_heap.report import (
    MAX_JSON_BYTES,
    AllocationSite,
    Cleared,
    SnapshotFacts,
    Suspect,
    Verdict,
    Where,
)

SUSPECT = Suspect(
    state="leaking", confidence=0.95, why=("objects: 1 → 2",), root="app.js", name="bus",
    kind="EventEmitter", part="listeners of 'close'",
    path="app.js: bus (EventEmitter) → listeners of 'close' → Function",
    container_class="Array", container_id=77, container_size=340, object_class="Function",
    counts=(100, 220, 340), new_count=240, new_bytes=34560, per_second=2.0, share=0.5,
    where=Where("/srv/app.js", 32, 7, "function"), samples=(9, 7, 5), others=(("(string)", 240),),
)  # fmt: skip
VERDICT = Verdict(
    verdict="leaking", confidence=0.95, summary="240 new Function are held by app.js: bus",
    snapshots=(SnapshotFacts("a", 10, 1000), SnapshotFacts("b", 20, 3_000_000)), seconds=120.0,
    new_bytes=69120, explained=0.5, suspects=(SUSPECT,), left_out=0,
    cleared=(Cleared("app.js: pages (Map) → Page", "turns over", (80, 80), "all went"),),
)  # fmt: skip


def test_every_field_is_documented():
    """docs/formats/verdict.md has a row for each field of the document and of a suspect."""
    from tests.heap.corpus.programs import ROOT

    page = (ROOT / "docs/formats/verdict.md").read_text()
    document = json.loads(VERDICT.to_json())
    for field in (*document, *document["suspects"][0]):
        assert f"`{field}`" in page, field


def test_the_values_come_back_from_the_document():
    """What is written is what was found."""
    document = json.loads(VERDICT.to_json())
    assert document["suspects"][0]["where"]["line"] == 32
    assert document["suspects"][0]["others"] == [["(string)", 240]]
    assert document["grown_bytes"] == 2_999_000


def test_a_long_document_is_cut_to_its_limit():
    """Cleared containers go first, then the lightest suspects, which are counted."""
    long = replace(SUSPECT, path="x" * 5000, why=("y" * 5000,) * 3)
    big = replace(VERDICT, suspects=(long,) * 8, cleared=VERDICT.cleared * 10)
    text = big.to_json()
    document = json.loads(text)
    assert len(text.encode()) <= MAX_JSON_BYTES
    assert document["cleared"] == []
    assert len(document["suspects"]) + document["left_out"] == 8
    assert document["suspects"][0]["path"].endswith("…")


def test_one_suspect_is_always_shown():
    """A limit that nothing fits leaves the answer itself."""
    assert len(json.loads(VERDICT.to_json(max_bytes=10))["suspects"]) == 1


def test_the_text_says_who_what_and_where():
    """A person reads the holder, the numbers, the place and the reason."""
    lines = render.text(VERDICT).splitlines()
    assert lines[0] == "LEAKING (95 % sure): 240 new Function are held by app.js: bus"
    assert lines[1].startswith("heap 1000 B → 2.9 MiB over 2 snapshots in 120 s")
    assert "1. app.js: bus (EventEmitter) → listeners of 'close' → Function" in lines
    assert any("240 new Function, with 240 (string): 33.8 KiB" in line for line in lines)
    assert any("/srv/app.js:32 (function)" in line for line in lines)
    assert "  app.js: pages (Map) → Page: turns over (80 → 80)" in lines


SITE = AllocationSite("/srv/models.py", 88, 0, "through decoder.py:353", 4000, ("views.py:12",))


def test_the_text_says_where_objects_were_made():
    """The line that made them, how many of how many, what it called and who called it."""
    made = replace(SUSPECT, new_count=4012, made_at=(SITE, replace(SITE, line=90, count=12)))
    said = render.text(replace(VERDICT, suspects=(made,)))
    assert "   made at models.py:88 through decoder.py:353 (4,000 of 4,012), called from " in said
    assert "; models.py:90 through decoder.py:353 (12 of 4,012)" in said
    hostile = replace(made, made_at=(replace(SITE, script="<b>.py"),))
    assert "&lt;b&gt;.py:88" in render.html(replace(VERDICT, suspects=(hostile,)))


def test_sites_shrink_before_suspects_go():
    """The 8 KiB rule: each suspect keeps its first site, as long as all are there."""
    long = replace(SITE, script="/srv/" + "x" * 150)
    made = replace(SUSPECT, made_at=(long, replace(long, line=90), replace(long, line=91)))
    text = replace(VERDICT, suspects=(made,) * 8).to_json()
    document = json.loads(text)
    assert len(text.encode()) <= MAX_JSON_BYTES
    assert [len(suspect["made_at"]) for suspect in document["suspects"]] == [1] * 8
    assert document["suspects"][0]["made_at"][0]["count"] == 4000


def test_html_escapes_what_the_program_named():
    """A class called like a script does nothing on the page."""
    hostile = replace(SUSPECT, path="<script>alert(1)</script>", object_class="<b>")
    page = render.html(replace(VERDICT, suspects=(hostile,), summary="<i>"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_a_verdict_without_suspects_is_short():
    """Nothing to report is said in two lines."""
    calm = replace(
        VERDICT, verdict="not leaking", suspects=(), cleared=(), summary="nothing", seconds=None
    )
    assert len(render.text(calm).splitlines()) == 2
    assert "<ol></ol>" in render.html(calm)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
)
def test_sizes_are_readable(count, text):
    """Bytes are shown in the unit that fits."""
    assert render.size(count) == text
