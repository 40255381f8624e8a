import pytest

from memwatch_heap import formats, verdict
from memwatch_heap.comparison import HeapTotals, compare_snapshots
from memwatch_heap.diff import compare_files
from memwatch_heap.errors import SnapshotError
from memwatch_heap.verdict import explain
from tests.heap.modules import Module


def leaky(count):
    module = Module()
    table = module.table(module.variable("cache", "Map", 1003), 1001)
    for number in range(count):
        edge = ("internal", str(number))
        node_id = 10_001 + 2 * number
        row = module.node("object", "Object", node_id=node_id, size=40, held_by=table, edge=edge)
        for name in ("id", "text", "at")[: 2 + number % 2]:
            module.edge(row, "property", name, table)
    return module


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{count}.heapsnapshot" for count in (20, 50, 80)]
    for path in paths:
        path.write_bytes(leaky(int(path.name.partition(".")[0])).text())
    return paths


def test_gives_classes_totals_and_verdict_of_one_reading(files, monkeypatch):
    """The same as asked for one by one; every file is read once, the last one twice."""
    real, read = formats.read, []

    def reading(path, **more):
        read.append(path)
        return real(path, **more)

    monkeypatch.setattr(formats, "read", reading)
    told = []
    found = compare_snapshots(files, [0, 1, 2], tell=lambda *step: told.append(step))

    assert read == [files[2], files[0], files[1], files[2]]
    assert list(found.rows) == compare_files(files[0], files[2])
    assert found.totals[0] == HeapTotals(26, 40 * 20 + 64 + 16 + 5 * 8 - 8)
    assert [total.objects - found.totals[0].objects for total in found.totals] == [0, 30, 60]
    assert found.verdict == explain(files, [0, 1, 2])
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (told[0][1], told[-1][0]) == (0.0, "judging what has grown")
    assert any("50.heapsnapshot" in doing for doing, _ in told)


def test_tells_by_place_where_ids_do_not_compare(files):
    """Whoever asks decides from the classes; objects are then told by the ways to them."""
    found = compare_snapshots(files, keeps_ids=lambda rows: len(rows) == 0)

    assert found.verdict
    assert (found.verdict.told_by, found.by_id, len(found.totals)) == ("place", False, 3)


def test_a_failing_verdict_costs_no_figures(files, monkeypatch):
    """What goes wrong is told, or raised where nobody wants to be told."""
    monkeypatch.setattr(verdict, "find_holders", lambda *_: 1 / 0)
    failures: list[Exception] = []
    found = compare_snapshots(files, on_failure=failures.append)

    assert (found.verdict, len(found.rows) > 0, len(found.totals)) == (None, True, 3)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        compare_snapshots(files)


def test_errors_call_a_file_by_the_name_that_was_given(files):
    """A stored blob's own name says nothing to anybody."""
    files[1].write_bytes(b"{")
    with pytest.raises(SnapshotError, match="'n-2'"):
        compare_snapshots(files, names=["'n-1'", "'n-2'", "'n-3'"])


@pytest.mark.parametrize(("count", "times"), [(1, None), (2, [0.0])])
def test_refuses_what_does_not_fit(files, count, times):
    """One snapshot, or times of another number."""
    with pytest.raises(ValueError, match="cannot compare"):
        compare_snapshots(files[:count], times)
