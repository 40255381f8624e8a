"""Recordings in this very process: what they find, and that nothing of them stays."""

import json
import sys
import threading
import tracemalloc
import types as stdlib_types
from types import SimpleNamespace

import pytest

from memwatch_hook import cgroup, wire
from memwatch_hook.profiles import base, native, recorder, types
from memwatch_hook.profiles.order import Order


class Planted:
    """What the tests look for."""


def record(*, during=lambda: None, control=None, **options):
    """Records here; the artifact, the facts. `during` runs once, when the recording has begun."""
    control = control or recorder.Control()
    pieces: list[bytes] = []
    told: list[tuple[int, int]] = []

    def progress(done, total):
        if not told:  # in a thread of its own: what we allocate ourselves is left out
            doing = threading.Thread(target=during)
            doing.start()
            doing.join()
        told.append((done, total))

    try:
        facts = recorder.record(recorder.new(Order(options)), control, pieces.append, progress)
    finally:
        control.close()
    data = b"".join(pieces)
    assert facts["size_bytes"] == len(data)
    return data, facts


@pytest.mark.parametrize("method", ["gc", "pympler"])
def test_types_before_and_after(monkeypatch, method):
    """Two looks, and what was made in between is in the second."""
    if method == "gc":
        monkeypatch.setattr(types, "has_package", lambda name: False)
    if django := sys.modules.get("django.conf"):  # of another test here: raises until configured
        monkeypatch.setitem(django.settings.__dict__, "_wrapped", SimpleNamespace())
    kept: list[Planted] = []
    data, facts = record(
        kind="types",
        seconds=0.01,
        gc=True,
        during=lambda: kept.extend(Planted() for _ in range(500)),
    )
    document = json.loads(data)
    name = "Planted"
    before, after = (
        {row[0]: row for row in look["rows"] if row[0].endswith(name)} for look in document["looks"]
    )
    [row] = after.values()
    assert row[1] - sum(old[1] for old in before.values()) == 500
    assert row[2] >= 500 * 40
    assert document["method"] == method
    assert facts["notes"][0] == f"method: {method}"
    assert facts["pause_millis"] > 0
    assert document["looks"][1]["count"] >= sum(row[1] for row in document["looks"][1]["rows"])


def test_pympler_is_not_used_where_memory_is_short(monkeypatch):
    """It holds a list of everything: then the collector's own list must do."""
    monkeypatch.setattr(cgroup.Memory, "headroom", lambda self: base.KEEP_FREE_BYTES + 1)
    data, facts = record(kind="types")
    assert json.loads(data)["method"] == "gc"
    assert any("pympler was not used" in note for note in facts["notes"])


def grow(kept):
    kept.extend(bytes(1000) for _ in range(300))


def test_allocations_by_stack():
    """What was allocated and kept is found by file and line, and tracing is off afterwards."""
    kept: list[bytes] = []
    data, facts = record(kind="allocations", seconds=0.01, frames=5, during=lambda: grow(kept))
    document = json.loads(data)

    frames = [(document["files"][file], line) for file, line in document["frame_table"]]
    largest = max(document["stacks"], key=lambda row: row[3])
    assert largest[2] >= 300
    assert largest[3] >= 300 * 1000
    assert frames[largest[4][0]][0] == __file__
    assert len(largest[4]) <= 5
    assert document["before"] == {"count": 0, "size_bytes": 0}
    assert not document["was_on"]
    assert document["allocation_nanos_with"] > 0
    assert any(note.startswith("overhead: a small allocation took") for note in facts["notes"])
    assert not tracemalloc.is_tracing()
    assert not any("memwatch_hook/profiles" in name for name in document["files"])


def test_tracemalloc_of_the_app_stays_on():
    """It is read with the app's own frames, compared with what was there before, and left on."""
    tracemalloc.start(2)
    try:
        kept: list[bytes] = []
        grow(kept)
        data, _ = record(kind="allocations", seconds=0.01, frames=50, during=lambda: grow(kept))
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traceback_limit() == 2
    finally:
        tracemalloc.stop()
    document = json.loads(data)
    rows = [row for row in document["stacks"] if row[1] >= 300_000]
    assert [(row[0] // 300, row[2] // 300) for row in rows] == [(1, 2)]
    assert document["was_on"]


@pytest.mark.parametrize("way", ["abort", "app stops tracing", "memory runs short"])
def test_nothing_stays_on_however_it_ends(monkeypatch, way):
    """Given up, taken from under us, or ended early: tracing is off."""
    control = recorder.Control()
    during = control.abort
    if way == "app stops tracing":
        during = tracemalloc.stop
    if way == "memory runs short":
        room = iter([1 << 40] + [1] * 9)
        monkeypatch.setattr(cgroup.Memory, "headroom", lambda self: next(room))
        _, facts = record(kind="allocations", seconds=60)
        assert any("bytes are left below the limit" in note for note in facts["notes"])
    else:
        with pytest.raises(wire.RequestError):
            record(kind="allocations", seconds=60, control=control, during=during)
    assert not tracemalloc.is_tracing()


def test_stopping_keeps_what_was_recorded():
    """A recording of an hour that is stopped at once is whole."""
    control = recorder.Control()
    threading.Timer(0.05, control.stop).start()
    data, facts = record(kind="allocations", seconds=3600, control=control)
    assert json.loads(data)["format"] == 1
    assert any(note.startswith("stopped after") for note in facts["notes"])


def test_a_forked_child_is_not_traced():
    """`forget` puts a child as the app was."""
    kind = recorder.new(Order({"kind": "allocations", "seconds": 1}))
    kind.start()
    assert tracemalloc.is_tracing()
    kind.forget()
    assert not tracemalloc.is_tracing()
    kind.undo()


def test_native_without_memray_says_what_to_install(monkeypatch):
    """Nothing is imported, nothing is left."""
    monkeypatch.setattr(native, "has_package", lambda name: False)
    with pytest.raises(wire.RequestError, match="pip install memray") as caught:
        record(kind="native", seconds=1)
    assert caught.value.reason == wire.MISSING


def test_native_beside_another_tracker_is_refused(monkeypatch, tmp_path):
    """Memray allows one at a time: the app's own stays as it is."""

    class Taken:
        def __init__(self, **options):
            pass

        def __enter__(self):
            raise RuntimeError("No more than one Tracker instance can be active at the same time")

    memray = stdlib_types.SimpleNamespace(
        Tracker=Taken,
        FileDestination=lambda path, **options: None,
        FileFormat=stdlib_types.SimpleNamespace(ALL_ALLOCATIONS=1, AGGREGATED_ALLOCATIONS=2),
        __version__="0",
    )
    monkeypatch.setenv("MEMWATCH_HOOK_DIR", str(tmp_path))
    monkeypatch.setattr(native.Native, "_import", lambda self: memray)
    with pytest.raises(wire.RequestError, match="No more than one Tracker") as caught:
        record(kind="native", seconds=1)
    assert caught.value.reason == wire.BUSY


@pytest.mark.parametrize(
    "options",
    [
        {"kind": 7},
        {"kind": "types", "seconds": -1},
        {"kind": "types", "seconds": 3601},
        {"kind": "types", "seconds": float("nan")},
        {"kind": "types", "frames": 0},
        {"kind": "types", "max_bytes": 1},
        {"kind": "types", "gc": 1},
    ],
)
def test_an_impossible_order_is_refused(options):
    """Each with the option's name."""
    with pytest.raises(wire.RequestError) as caught:
        Order(options)
    assert caught.value.reason == wire.BAD_REQUEST


def test_an_unknown_kind_names_the_known_ones():
    """A newer agent may ask for one."""
    with pytest.raises(wire.RequestError, match="records types, allocations, native") as caught:
        recorder.new(Order({"kind": "sampling"}))
    assert caught.value.reason == wire.UNSUPPORTED
