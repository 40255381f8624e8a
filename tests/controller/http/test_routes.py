import json

import httpx
import pytest
import structlog

from memwatch_controller import errors, model
from memwatch_controller.analysis import document
from memwatch_controller.analysis.jobs import ClassChange, Comparison, Totals
from memwatch_controller.api.http.application import PREFIX
from memwatch_proto.v1 import sessions_pb2
from tests.controller.builders import snapshot
from tests.controller.http.conftest import TOKEN
from tests.controller.store.test_findings import finding

SESSION = {"request_id": "r-1", "plan": {"selector": {"name": "web"}, "timeframe_millis": "5000"}}


async def test_a_session_is_created_from_its_message_as_json(http, stage):
    """The body is the protobuf JSON of the request; the answer that of the session."""
    answer = await http.post("/api/v1/sessions", json=SESSION)
    assert answer.status_code == 200
    assert answer.json()["id"] == "s-1"
    assert answer.json()["plan"]["timeframe_millis"] == "5000"
    (request,) = stage.sessions.requests
    assert request.plan.selector.name == "web"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"[]", "is no JSON object"),
        (b'{"nonsense": 1}', 'no field named "nonsense"'),
        (b'{"plan": {"timeframe_millis": "soon"}}', "timeframe_millis"),
        (b'{"plan": {"timeframe_millis": -1}}', "timeframe_millis"),
        (b'{"plan": {"fleet": "yes"}}', "fleet"),
        (b'{"plan":' * 5000, "is no JSON"),
        (b'{"request_id": "\xff"}', "is no JSON"),
        (b'{"request_id": "' + b"x" * 1_100_000 + b'"}', "has more than 1048576 bytes"),
    ],
)
async def test_bad_bodies_are_refused_with_the_field(http, stage, body, words):
    """Whatever stands in a body: 400, a sentence with the place, and no call is made."""
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/api/v1/sessions", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["message"]
    assert answer.json()["message"].isprintable()
    assert stage.sessions.requests == []


async def test_a_form_of_a_browser_is_no_session(http):
    """Another site's form cannot make us work: only application/json is taken."""
    answer = await http.post(
        "/api/v1/sessions", content=json.dumps(SESSION), headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 400
    assert "Content-Type" in answer.json()["message"]


async def test_errors_carry_reason_facts_and_retry_time(http, stage):
    """google.rpc.Status and problem+json in one; Retry-After where it makes sense."""
    stage.sessions.fail = errors.TooManySessionsError(5, 30.0)
    answer = await http.post("/api/v1/sessions", json=SESSION)
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "30"
    body = answer.json()
    assert (body["title"], body["status"], body["code"]) == ("RESOURCE_EXHAUSTED", 429, 8)
    assert body["detail"] == body["message"] == str(stage.sessions.fail)
    assert body["reason"] == "TOO_MANY_SESSIONS"
    assert body["details"][0]["metadata"] == {"limit": "5"}
    assert body["details"][1]["retryDelay"] == "30s"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.StoreFullError("it", 2, 1), 507),
        (errors.SnapshotInUseError("n", "s"), 409),
        (errors.AgentError("UNAVAILABLE", "UNAVAILABLE", "cannot reach it"), 503),
        (errors.BlobLostError("k", "it is gone"), 500),
        (ZeroDivisionError("secret"), 500),
    ],
)
async def test_statuses_fit_the_error(http, stage, error, status):
    """Each kind of error has the status that HTTP knows it by."""
    stage.sessions.fail = error
    answer = await http.post("/api/v1/sessions", json=SESSION)
    assert answer.status_code == status
    assert "secret" not in answer.text


async def test_sessions_are_listed_by_states_and_service(http, stage):
    """States by their short names, in any case; unknown ones are refused."""
    await http.get("/api/v1/sessions?states=waiting&states=SESSION_STATE_FAILED&service=web")
    (request,) = stage.sessions.requests
    assert list(request.states) == [
        sessions_pb2.SESSION_STATE_WAITING,
        sessions_pb2.SESSION_STATE_FAILED,
    ]
    assert request.service == "web"
    assert (await http.get("/api/v1/sessions?states=sleeping")).status_code == 400


async def test_cancel_and_delete(http, stage):
    """Both name the session in the path."""
    cancelled = await http.post("/api/v1/sessions/s-7/cancel")
    assert cancelled.json()["state"] == "SESSION_STATE_CANCELLED"
    await http.delete("/api/v1/sessions/s-7")
    assert stage.sessions.requests == [sessions_pb2.DeleteSessionRequest(id="s-7")]


async def test_watch_streams_events_until_the_end(http):
    """One event for each change, then one that says that no more will come."""
    answer = await http.get("/api/v1/sessions/s-1/watch")
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, second, end = answer.text.strip().split("\n\n")
    assert json.loads(first.removeprefix("data: "))["session"]["state"] == "SESSION_STATE_WAITING"
    assert json.loads(second.removeprefix("data: "))["session"]["id"] == "s-1"
    assert end == "event: end\ndata: {}"


async def test_watch_of_nothing_is_404_and_not_a_stream(http):
    """An error before the first event is a status."""
    assert (await http.get("/api/v1/sessions/s-none/watch")).status_code == 404


async def test_a_watch_that_breaks_says_why(http):
    """An error between events is an event itself."""
    answer = await http.get("/api/v1/sessions/s-breaks/watch")
    last = answer.text.strip().split("\n\n")[-1]
    assert last.startswith("event: error\ndata: ")
    assert json.loads(last.split("data: ")[1])["reason"] == "TOO_MANY_SESSIONS"


async def test_reports_and_their_documents(http, stage):
    """A report as message, and its document as it was stored."""
    change = ClassChange("Report", 1, 3, 64, 192, 2, 128, 0, 0)
    found = Comparison(True, (Totals(1, 2), Totals(3, 4)), (change,), 1)
    made = document.document("r-1", "s-1", "t-1", 5, (snapshot("n-1"), snapshot("n-2")), found)
    row = model.Report("r-1", "s-1", "t-1", 5, ("n-1", "n-2"), "it grew", document.text(made))
    await stage.metadata.insert_report(row)
    report = (await http.get("/api/v1/reports/r-1")).json()
    assert report["classes"][0]["new_count"] == "2"
    before = report["before"]
    assert (before["object_count"], before["shallow_size_bytes"]) == ("1", "2")
    assert (await http.get("/api/v1/reports/r-1/document")).json() == made
    (listed,) = (await http.get("/api/v1/reports?session_id=s-1")).json()["reports"]
    assert (listed["summary"], listed["classes"], listed["json"]) == ("it grew", [], "")
    assert (await http.get("/api/v1/reports/r-2")).status_code == 404


async def test_agents_and_controller(http):
    """Who is there, and what answers."""
    assert (await http.get("/api/v1/agents")).json()["agents"][0]["id"] == "a-1"
    assert (await http.get("/api/v1/controller")).json()["http_address"] == "127.0.0.1:9467"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/api/v1/sessions/../../etc/passwd", 404),
        ("GET", "/api/v1/sessions/%2e%2e%2fetc", 404),
        ("GET", "/api/v1/sessions/a%00b", 400),
        ("GET", "/api/v1/sessions/a%0ab", 400),
        ("GET", "/api/v1/sessions/" + "x" * 300, 400),
        ("PUT", "/api/v1/sessions", 405),
        ("GET", "/api/v1/snapshots?page_size=-1", 400),
        ("GET", "/api/v1/snapshots?page_token=x", 400),
        ("GET", "/api/v1/snapshots/n/content?encoding=rot13", 400),
        ("GET", "/api/v1/targets?labels=x", 400),
        ("GET", "/api/v1/targets?pid=99999999999", 400),
    ],
)
async def test_every_refusal_has_one_shape(http, method, path, status):
    """Unknown paths, methods and parameters answer as every other error does."""
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"reason", "message", "details", "title", "status", "detail"} <= set(answer.json())
    assert answer.json()["message"].startswith("cannot ")
    assert answer.json()["message"].isprintable()


async def test_a_token_is_needed_for_all_but_probes(stage):
    """Every route of the description is shut without the token, wrong or missing."""
    transport = httpx.ASGITransport(app=stage.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as stranger:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/metrics", f"{PREFIX}/openapi.json", f"{PREFIX}/sessions", "/nothing"):
                answer = await stranger.get(path, headers=header)
                assert answer.status_code == 401
                assert answer.json()["reason"] == "UNAUTHENTICATED"
                assert "www-authenticate" in answer.headers
        assert (await stranger.get("/healthz")).status_code == 200
        assert (await stranger.get("/readyz")).status_code == 200


async def test_readiness_says_why_not(stage, http):
    """503 with one line while the database or the store do not answer."""
    stage.why_not_ready = "cannot use the database: gone"
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "cannot use the database: gone\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:9467", 200), ("localhost:1", 200), ("[::1]:9467", 200), ("evil.example", 403)],
)
async def test_without_a_token_only_this_machine_is_answered(stage, host, status):
    """A page that made its own name mean 127.0.0.1 is not answered."""
    transport = httpx.ASGITransport(app=stage.application(token=""))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as caller:
        answer = await caller.get("/api/v1/snapshots", headers={"Host": host})
    assert answer.status_code == status


async def test_metrics_count_what_is_there_and_what_failed(http, stage):
    """Gauges of the store and counters of the process, in one page."""
    headers = {"Content-Type": "application/octet-stream"}
    await http.post("/api/v1/snapshots", content=b"{}", headers=headers)
    await http.post("/api/v1/snapshots", content=b"no", headers=headers)
    page = (await http.get("/metrics")).text
    assert "memwatch_snapshots 1.0" in page
    assert 'memwatch_uploads_total{outcome="stored"} 1.0' in page
    assert 'memwatch_uploads_total{outcome="DIGEST_MISMATCH"} 1.0' in page
    assert 'memwatch_sessions{state="waiting"} 0.0' in page
    assert "memwatch_agents_connected 0.0" in page


async def test_metrics_count_the_findings_that_stand(http, stage):
    """Every type and severity is there, 0 too; services and processes are not: they have no end."""
    stage.findings.report("a-1", [finding("f-1"), finding("f-2")])
    await stage.findings.acknowledge("f-2", "somebody")
    page = (await http.get("/metrics")).text
    rows = [line for line in page.splitlines() if line.startswith("memwatch_controller_findings{")]
    assert len(rows) == 16
    counts = {row.rpartition(" ")[0]: float(row.rpartition(" ")[2]) for row in rows}
    assert [row for row, count in counts.items() if count] == [
        'memwatch_controller_findings{severity="medium",type="memory_leak"}'
    ]
    assert sum(counts.values()) == 2
    assert "memwatch_controller_findings_unacknowledged 1.0" in page


@pytest.mark.parametrize(
    ("sent", "kept"), [("my-id-1", True), ("", False), ("a\tb", False), ("x" * 129, False)]
)
async def test_every_answer_names_its_request(http, sent, kept):
    """The caller's id where it is sound, else one of ours, is told and logged."""
    with structlog.testing.capture_logs() as logged:
        answer = await http.get("/api/v1/snapshots", headers={"X-Request-Id": sent})
    told = answer.headers["x-request-id"]
    assert (told == sent) is kept
    assert told.isprintable()
    assert [(line["event"], line["status"]) for line in logged] == [("request", 200)]
