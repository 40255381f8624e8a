"""The verdict of a report's document as messages: typed, for programs that read no documents."""

from collections.abc import Mapping
from typing import Any

from memwatch_proto.v1 import reports_pb2 as pb

Document = Mapping[str, Any]

_STATES = {
    "leaking": pb.VERDICT_STATE_LEAKING,
    "growing, not sure": pb.VERDICT_STATE_GROWING,
    "not leaking": pb.VERDICT_STATE_NOT_LEAKING,
}


def verdict_to_pb(found: Document, *, whole: bool = True) -> pb.Verdict:
    """A verdict's document (docs/formats/verdict.md) as a message; not `whole`: no suspects."""
    suspects = found.get("suspects", ()) if whole else ()
    cleared = found.get("cleared", ()) if whole else ()
    return pb.Verdict(
        state=_state(found.get("verdict")),
        confidence=found.get("confidence", 0.0),
        summary=found.get("summary", ""),
        new_size_bytes=_count(found.get("new_bytes", 0)),
        explained_share=found.get("explained", 0.0),
        grown_size_bytes=int(found.get("grown_bytes", 0)),
        interval_seconds=found.get("seconds"),
        suspects=[_suspect(suspect) for suspect in suspects],
        left_out_count=found.get("left_out", 0),
        cleared=[_cleared(container) for container in cleared],
        told_by_place=found.get("told_by") == "place",
    )


def _suspect(found: Document) -> pb.Suspect:
    where = found.get("where")
    return pb.Suspect(
        state=_state(found.get("state")),
        confidence=found.get("confidence", 0.0),
        reasons=found.get("why", ()),
        root=found.get("root", ""),
        name=found.get("name", ""),
        kind=found.get("kind", ""),
        part=found.get("part", ""),
        path=found.get("path", ""),
        container_class=found.get("container_class", ""),
        container_object_id=found.get("container_id", 0),
        container_count=found.get("container_size", 0),
        object_class=found.get("object_class", ""),
        counts=found.get("counts", ()),
        new_count=found.get("new_count", 0),
        new_size_bytes=_count(found.get("new_bytes", 0)),
        new_per_second=found.get("per_second"),
        share=found.get("share", 0.0),
        location=None if where is None else _location(where),
        sample_object_ids=found.get("samples", ()),
        allocation_sites=[_site(site) for site in found.get("made_at", ())],
        allocation_known_count=found.get("made_known", 0),
    )


def _site(found: Document) -> pb.AllocationSite:
    return pb.AllocationSite(
        location=_location(found),
        count=found.get("count", 0),
        callers=found.get("callers", ()),
    )


def _location(found: Document) -> pb.SourceLocation:
    original = found.get("original")
    return pb.SourceLocation(
        script=found.get("script", ""),
        line=found.get("line", 0),
        column=found.get("column", 0),
        what=found.get("what", ""),
        original=None if original is None else _location(original),
    )


def _cleared(found: Document) -> pb.ClearedContainer:
    return pb.ClearedContainer(
        path=found.get("path", ""),
        state=found.get("state", ""),
        counts=found.get("counts", ()),
        reason=found.get("why", ""),
    )


def _state(word: object) -> pb.VerdictState:
    """A document of a newer version may know states that this one does not."""
    return _STATES.get(str(word), pb.VERDICT_STATE_UNSPECIFIED)


def _count(number: float) -> int:
    return max(0, int(number))
