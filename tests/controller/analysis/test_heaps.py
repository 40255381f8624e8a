"""Questions about a stored heap, over real workers, and the routes that ask them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from memwatch_controller import model
from memwatch_controller.analysis.queries import Queries, QueryFailedError
from memwatch_controller.analysis.runner import Limits, Runner
from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.api.heaps import HeapServicer
from memwatch_controller.api.http.application import create_app
from memwatch_controller.api.http.routes import Faces
from memwatch_controller.api.reports import ReportServicer
from memwatch_controller.errors import AnalysisError, AnalysisTooLargeError, NotFoundError
from memwatch_controller.heaps import Heaps
from memwatch_controller.reports import Reports
from memwatch_controller.snapshots.service import Snapshots, Upload
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import open_database
from memwatch_controller.store.metadata import Metadata
from memwatch_heap.testing import HeapBuilder

REPORTS = 30


def heap(reports: int = REPORTS) -> bytes:
    """Root → global → cache (Map) → table → Reports; object ids as V8 gives them."""
    built = HeapBuilder()
    window = built.node("object", "global", size=32, node_id=3)
    built.edge(built.root, "internal", "global", window)
    cache = built.node("object", "Map", size=32, node_id=5)
    built.edge(window, "property", "cache", cache)
    table = built.node("array", "", size=240, node_id=7)
    built.edge(cache, "internal", "table", table)
    for number in range(reports):
        report = built.node("object", "Report", size=64, node_id=1001 + 2 * number)
        built.edge(table, "internal", str(number), report)
    return built.text()


class Stage:
    """The parts of the test."""

    def __init__(self, tmp_path: Path, metadata: Metadata, limits: Limits) -> None:
        self.metadata = metadata
        self.folder = tmp_path / "indexes"
        self.blobs = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)
        self.snapshots = Snapshots(metadata, self.blobs, AgentChannels(""), now=lambda: 1)
        self.runner, self.queries = Runner(limits), Queries()
        self.heaps = Heaps(metadata, self.blobs, self.runner, self.queries, self.folder)
        self.reports = Reports(metadata, self.blobs, self.runner, now=lambda: 1)
        self.snapshots.on_removed(self.heaps.forget)

    async def upload(self, raw: bytes, request_id: str = "up-1") -> model.Snapshot:
        async def pieces() -> AsyncIterator[bytes]:
            yield raw

        return await self.snapshots.upload(Upload(request_id), pieces())

    def indexes(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def client(self) -> httpx.AsyncClient:
        faces = Faces(
            controllers=None,
            targets=None,
            sessions=None,
            snapshot_service=None,
            reports=ReportServicer(self.reports, self.metadata),
            heaps=HeapServicer(self.heaps),
            profiles=None,
            clusters=None,
            findings=None,
            agents=list,
            snapshots=self.snapshots,
        )
        app = create_app(faces, None, None)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x/api/v1")


@pytest.fixture
async def stage(tmp_path) -> AsyncIterator[Stage]:
    database = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    opened = Stage(tmp_path, Metadata(database), Limits())
    yield opened
    await opened.heaps.close()
    await database.close()


async def test_a_heap_is_walked_over_http(stage):
    """Figures, classes, objects, retainers, references, path and dominators of one snapshot."""
    base = f"/snapshots/{(await stage.upload(heap())).id}/heap"
    async with stage.client() as http:
        whole = (await http.get(base)).json()
        assert whole["node_count"] == str(REPORTS + 4)
        classes = (await http.get(f"{base}/classes?filter=report")).json()
        assert classes["classes"] == [
            {
                "key": ",Report",
                "class_name": "Report",
                "count": str(REPORTS),
                "shallow_size_bytes": str(64 * REPORTS),
            }
        ]
        first = (await http.get(f"{base}/objects?class_key=,Report&page_size=20")).json()
        token = first["next_page_token"]
        path = f"{base}/objects?class_key=,Report&page_size=20&page_token={token}"
        second = (await http.get(path)).json()
        ids = [row["id"] for row in (*first["objects"], *second["objects"])]
        assert sorted(ids) == sorted(str(1001 + 2 * number) for number in range(REPORTS))
        assert (first["total_count"], second["next_page_token"]) == (str(REPORTS), "")
        one = (await http.get(f"{base}/objects/1001")).json()
        assert [step["label"] for step in one["path"]][-3:] == ["cache", "table", "0"]
        assert [row["id"] for row in one["dominators"]][:3] == ["7", "5", "3"]
        (holder,) = (await http.get(f"{base}/objects/1001/retainers")).json()["retainers"]
        assert (holder["label"], holder["object"]["id"]) == ("0", "7")
        held = (await http.get(f"{base}/objects/5/references")).json()["references"]
        assert [(edge["label"], edge["object"]["id"]) for edge in held] == [("table", "7")]
        inside = (await http.get(f"{base}/objects?dominated_by=7&page_size=5")).json()
        assert (len(inside["objects"]), inside["total_count"]) == (5, str(REPORTS))
        largest = (await http.get(f"{base}/objects?largest_shallow=true&page_size=1")).json()
        assert largest["objects"][0]["id"] == "5"  # with its table, as DevTools counts it
        named = (await http.get(f"{base}/objects?name_contains=REPORT&page_size=1")).json()
        assert (named["total_count"], named["objects"][0]["class_name"]) == (str(REPORTS), "Report")


async def test_a_heap_says_what_it_knows_of_closures_texts_and_other_ways(stage):
    """Scopes, duplicate strings, and retainers and paths without what is ignored."""
    built = HeapBuilder()
    window = built.node("object", "global", size=8, held_by=0, edge=("internal", "global"))
    context = built.node("object", "system / Context", size=8, held_by=window)
    report = built.node("object", "Report", size=8, held_by=window, edge=("property", "last"))
    built.edge(context, "context", "report", report)
    for _ in range(3):
        built.node("string", "again", size=16, held_by=window)
    base = f"/snapshots/{(await stage.upload(built.text())).id}/heap"
    ids = {"report": 2 * report + 1, "window": 2 * window + 1, "context": 2 * context + 1}
    async with stage.client() as http:
        (scope,) = (await http.get(f"{base}/scopes")).json()["scopes"]
        assert (scope["context_count"], scope["variables"][0]["name"]) == ("1", "report")
        assert scope["variables"][0]["state"] == "not known"
        texts = (await http.get(f"{base}/duplicate-strings")).json()
        assert (texts["total_count"], texts["strings"][0]["wasted_size_bytes"]) == ("1", "32")
        one = f"{base}/objects/{ids['report']}"
        assert [s["label"] for s in (await http.get(one)).json()["path"]][-1] == "last"
        without = {"ignored_object_ids": ids["window"]}
        assert (await http.get(one, params=without)).json()["path"] == []
        both = (await http.get(f"{one}/retainers")).json()["retainers"]
        assert [row["label"] for row in both] == ["last", "report"]
        rest = (await http.get(f"{one}/retainers", params=without)).json()["retainers"]
        assert [row["object"]["id"] for row in rest] == [str(ids["context"])]
        many = {"ignored_object_ids": [1] * 101}
        assert (await http.get(one, params=many)).status_code == 400


#: Paths, and what they answer.
STATUSES = {
    "/snapshots/none/heap": 404,
    "{base}/objects/999999": 404,
    "{base}/objects/999999/retainers": 404,
    "{base}/objects/-1": 400,
    "{base}/objects/x": 400,
    "{base}/objects/99999999999999999999999": 400,
    "{base}/objects?class_key=a&dominated_by=1": 400,
    "{base}/classes?filter=%00": 400,
    "{base}/classes?page_token=x": 400,
    "{base}/objects?name_contains=%00": 400,
    "{base}/objects/1001?ignored_object_ids=999999": 404,
    "{base}/objects?class_key=nothing": 200,
}


async def test_questions_that_have_no_answer(stage):
    """Unknown snapshots and objects are 404, nonsense is 400, an unknown class is empty."""
    base = f"/snapshots/{(await stage.upload(heap())).id}/heap"
    async with stage.client() as http:
        for path, status in STATUSES.items():
            assert (await http.get(path.format(base=base))).status_code == status, path


async def test_the_index_is_built_once_and_goes_with_its_snapshot(stage):
    """Callers that ask at the same time wait for the same index; deleting removes it."""
    snapshot = await stage.upload(heap())
    runs = []
    build = stage.runner.build_index

    async def counted(job):
        runs.append(job)
        await build(job)

    stage.runner.build_index = counted
    await asyncio.gather(*(stage.heaps.ask(snapshot.id, "heap") for _ in range(3)))
    assert len(runs) == 1
    assert stage.indexes() == [f"{snapshot.id}.{snapshot.stored_sha256[:16]}.index"]
    await stage.snapshots.delete(snapshot.id)
    assert stage.indexes() == []


async def test_a_damaged_index_is_built_anew(stage):
    """An index that cannot be used costs time, never an answer."""
    snapshot = await stage.upload(heap())
    await stage.heaps.ask(snapshot.id, "heap")
    await stage.queries.close()
    (stage.folder / stage.indexes()[0]).write_bytes(b"nonsense")
    assert (await stage.heaps.ask(snapshot.id, "heap"))["node_count"] == REPORTS + 4


async def test_a_killed_process_is_started_again(stage):
    """Whoever kills it, the next question is answered."""
    snapshot = await stage.upload(heap())
    await stage.heaps.ask(snapshot.id, "heap")
    os.kill(stage.queries._process.pid, signal.SIGKILL)
    assert (await stage.heaps.ask(snapshot.id, "heap"))["node_count"] == REPORTS + 4


async def test_what_is_no_heap_or_too_large_is_told(stage):
    """The engine's words for the first, the figures for the second."""
    bad = await stage.upload(b'{"snapshot":1}', "up-bad")
    with pytest.raises(AnalysisError, match=f"cannot read the heap of snapshot '{bad.id}'"):
        await stage.heaps.ask(bad.id, "heap")
    stage.runner.limits = Limits(memory_bytes=1_000)
    good = await stage.upload(heap(), "up-good")
    with pytest.raises(AnalysisTooLargeError, match="needs about 256 MiB"):
        await stage.heaps.ask(good.id, "heap")


async def test_a_process_that_only_dies_is_given_up(tmp_path):
    """Two deaths are an error, not a loop."""
    queries = Queries(("false",))
    with pytest.raises(QueryFailedError, match="died twice"):
        await queries.ask({"ask": "heap"})
    await queries.close()


async def test_any_two_snapshots_are_compared_by_hand(stage):
    """The report belongs to no session, and the same snapshots give the same report."""
    ids = [(await stage.upload(heap(n), f"up-{n}")).id for n in (REPORTS, REPORTS + 5)]
    async with stage.client() as http:
        answer = await http.post("/reports", json={"snapshot_ids": ids})
        report = answer.json()
        assert (report["session_id"], report["target_id"]) == ("", "")
        assert report["classes"][0]["class_name"] == "Report"
        assert report["classes"][0]["new_count"] == "5"
        again = (await http.post("/reports", json={"snapshot_ids": ids})).json()
        assert again == report
        assert (await http.get(f"/reports/{report['id']}")).json() == report
        for wrong in ([], ids[:1], [ids[0]] * 2, [ids[0], "../x"]):
            refused = await http.post("/reports", json={"snapshot_ids": wrong})
            assert (refused.status_code, "snapshot_ids" in refused.text) == (400, True)
        missing = await http.post("/reports", json={"snapshot_ids": [ids[0], "none"]})
        assert missing.status_code == 404
    with pytest.raises(NotFoundError):
        await stage.reports.get("none")
