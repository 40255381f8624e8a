"""`memwatchctl leaks`: what it asks for, what it prints, and how it ends."""

# ruff: noqa: N802 - the methods are named by the protos

import json
from concurrent import futures

import grpc
import pytest

from memwatch_proto.v1 import findings_pb2, findings_pb2_grpc
from tests.cli.conftest import Inside

P = findings_pb2


def finding(**changes):
    """A leak, as a controller shows it."""
    fields = {
        "id": "f-1",
        "target_id": "t-1",
        "type": P.FINDING_TYPE_MEMORY_LEAK,
        "severity": P.FINDING_SEVERITY_HIGH,
        "subject": "rss",
        "summary": "the floor of memory grows by 3.0 MiB an hour\x1b[2J",
        "service": "shop",
        "evidence": {"bytes_per_hour": 3145728.0},
        "recommendations": [
            P.Recommendation(text="Capture it.", command="memwatchctl capture t-1")
        ],
        "replicas": 3,
        "replicas_agreeing": 2,
    }
    found = P.Finding(**{**fields, **changes})
    found.since_time.FromSeconds(1_700_000_000)
    return found


class Fake(findings_pb2_grpc.FindingServiceServicer):
    """A controller's findings, scripted."""

    def __init__(self):
        self.asked, self.findings = [], [finding()]

    def ListFindings(self, request, context):
        self.asked.append(request)
        return P.ListFindingsResponse(findings=self.findings)

    def GetFinding(self, request, context):
        return finding(id=request.id)

    def WatchFindings(self, request, context):
        self.asked.append(request)
        for one in self.findings:
            yield P.WatchFindingsResponse(finding=one)
        context.abort(grpc.StatusCode.INTERNAL, "cannot go on: the test is over")

    def AcknowledgeFinding(self, request, context):
        self.asked.append(request)
        return finding(id=request.id, acknowledged_by=request.by)


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def cli(fake, tmp_path):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    findings_pb2_grpc.add_FindingServiceServicer_to_server(fake, server)
    server.add_insecure_port(f"unix:{tmp_path}/c.sock")
    server.start()
    yield Inside(tmp_path, f"unix:{tmp_path}/c.sock")
    server.stop(None)


def test_check_is_for_scripts(cli, fake):
    """9 where a leak stands that nobody knows of, 0 where none does."""
    done = cli("leaks", "check", "shop", "--min-severity", "high")
    assert done.returncode == 9, done.stderr
    assert "shop" in done.stdout
    [request] = fake.asked
    assert request == P.ListFindingsRequest(
        target={"name": "shop"},
        type=P.FINDING_TYPE_MEMORY_LEAK,
        min_severity=P.FINDING_SEVERITY_HIGH,
        unacknowledged_only=True,
        page_size=request.page_size,
    )
    fake.findings = []
    done = cli("leaks", "check")
    assert (done.returncode, done.stdout) == (0, "no leak is seen\n")


def test_list_as_table_and_json(cli, fake):
    """The worst first as the controller says; a terminal is not moved by a name from outside."""
    done = cli("leaks", "list", "--type", "high-memory", "--all")
    assert done.returncode == 0, done.stderr
    assert "SEVERITY" in done.stdout
    assert "\x1b" not in done.stdout
    assert (fake.asked[0].type, fake.asked[0].include_over) == (P.FINDING_TYPE_HIGH_MEMORY, True)
    document = json.loads(cli("leaks", "list", "-o", "json").stdout)
    assert document["findings"][0]["evidence"] == {"bytes_per_hour": 3145728.0}


def test_get_says_what_to_do_next(cli):
    """Numbers, agreement of the replicas, and the command."""
    done = cli("leaks", "get", "f-7")
    assert done.returncode == 0, done.stderr
    for word in ("f-7", "bytes_per_hour", "2 of 3", "→ Capture it.", "memwatchctl capture t-1"):
        assert word in done.stdout


def test_ack_says_who(cli, fake):
    """The name given, or the user's own."""
    assert "acknowledged" in cli("leaks", "ack", "f-1", "--by", "ann").stdout
    assert fake.asked[0] == P.AcknowledgeFindingRequest(id="f-1", by="ann")


def test_watch_shows_each_change(cli):
    """A line for each, and the error that ended it."""
    done = cli("leaks", "watch")
    assert "shop: the floor of memory grows" in done.stdout
    assert done.returncode == 1
