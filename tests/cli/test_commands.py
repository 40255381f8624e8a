"""Commands that look things up: their tables, their documents, their errors."""

import json
import re

import grpc
import pytest
import yaml

from memwatch_proto.v1 import sessions_pb2, targets_pb2
from tests.cli.conftest import Cli
from tests.fakes.controller import make_report, make_target

S = sessions_pb2


@pytest.fixture
def full(fake):
    """A fake controller that knows one of each."""
    target = fake.add_target(make_target(1, container_id="4f5e1a" * 8))
    fake.add_target(make_target(2, "gone", state=targets_pb2.TARGET_STATE_GONE))
    session = fake.add_session(
        id="s-1",
        plan=S.SessionPlan(service="shop", snapshots=2),
        targets=[S.SessionTarget(target=target)],
    )
    raw = b'{"snapshot": {}}' * 50_000
    snapshot = fake.add_snapshot(raw, session_id="s-1", target_id=target.id, phase="before")
    session.targets[0].snapshots.append(snapshot)
    fake.reports["r-1"] = make_report("r-1", "s-1", target.id)
    return fake


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        (
            "targets",
            [
                "shop",
                "t-00000000000000000001",
                "node",
                "22.11.0",
                "4001",
                "4f5e1a4f5e1a",
                "100",
                "MiB",
                "reachable",
                "attach",
            ],
        ),
        ("sessions", ["s-1", "shop", "succeeded", "1", "1", "now", "-"]),
        (
            "reports",
            ["r-1", "s-1", "now", "+195", "KiB", "LeakedReport", "grew", "by", "2,000", "objects"],
        ),
    ],
)
def test_table(cli, full, noun, expected):
    """A list is plain columns without a terminal: one line for each."""
    head, row = cli(noun, "list").stdout.splitlines()

    assert head.isupper()
    assert re.sub(r"\b\d+s\b", "now", row).split() == expected


@pytest.mark.parametrize("noun", ["targets", "sessions", "snapshots", "reports"])
def test_json_and_yaml_are_one_document(cli, full, noun):
    """A list is `{noun: […]}` with proto field names, the same in JSON and YAML."""
    as_json = json.loads(cli(noun, "list", "-o", "json").stdout)
    as_yaml = yaml.safe_load(cli("-o", "yaml", noun, "list").stdout)

    assert list(as_json) == [noun]
    assert as_json == as_yaml
    assert len(as_json[noun]) == 1


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("targets", "get", "shop"), "id"),
        (("sessions", "get", "s-1"), "id"),
        (("snapshots", "get", "snap-1"), "id"),
        (("reports", "get", "s-1"), "id"),
    ],
)
def test_get(cli, full, words, name):
    """One thing is shown as lines for people, and whole as JSON."""
    assert cli(*words).returncode == 0
    assert name in json.loads(cli(*words, "-o", "json").stdout)


def test_json_fields_are_in_the_order_of_the_proto(cli, full):
    """Documents are stable: every field, in the proto's order, set or not."""
    document = json.loads(cli("sessions", "get", "s-1", "-o", "json").stdout)

    assert list(document)[:4] == ["id", "request_id", "plan", "state"]
    assert list(document["targets"][0]["target"]) == [
        f.name
        for f in targets_pb2.Target.DESCRIPTOR.fields
        if f.name in document["targets"][0]["target"]
    ]


@pytest.mark.parametrize("noun", ["sessions", "snapshots", "reports"])
def test_get_what_is_not_there(cli, noun):
    """A miss is one line that names it, exit code 3."""
    done = cli(noun, "get", "nosuch")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"cannot find {noun[:-1]} 'nosuch': there is no such {noun[:-1]}\n"


def test_get_by_word_finds_the_gone(cli, full):
    """A target that has ended is still shown by its name."""
    assert "gone" in cli("targets", "get", "gone").stdout
    assert cli("targets", "get", "nosuch").returncode == 3


def test_paging(cli, fake):
    """Pages are followed to the limit, and to the end without one."""
    for _ in range(450):
        fake.add_session()

    assert len(cli("sessions", "list", "--limit", "0").stdout.splitlines()) == 451
    assert len(cli("sessions", "list", "--limit", "201").stdout.splitlines()) == 202
    assert len(cli("sessions", "list").stdout.splitlines()) == 101
    assert fake.calls.count("ListSessions") == 3 + 2 + 1


def test_filters(cli, fake):
    """States and services are filtered by the controller."""
    fake.add_session(id="s-a", state=S.SESSION_STATE_FAILED)
    fake.add_session(id="s-b", plan=S.SessionPlan(service="web"))

    assert "s-a" in cli("sessions", "list", "--state", "failed").stdout
    assert "s-b" not in cli("sessions", "list", "--state", "failed").stdout
    assert "s-b" in cli("sessions", "list", "--service", "web").stdout


def test_delete_and_cancel(cli, fake):
    """Cancel and delete name what they did; an unfinished session is not deleted."""
    fake.add_session(id="s-1", state=S.SESSION_STATE_WAITING)
    refused = cli("sessions", "delete", "s-1")
    assert refused.returncode == 1
    assert "cancel it first" in refused.stderr
    assert cli("sessions", "cancel", "s-1").stdout == "session s-1 is cancelled\n"
    assert cli("sessions", "delete", "s-1", "s-none").stdout.splitlines()[0] == (
        "session s-1 is deleted"
    )
    assert fake.sessions == {}


def test_snapshots_cleanup(cli, fake):
    """A dry run says what would go, the real one what went; orphans stay unless asked."""
    snapshot = fake.add_snapshot(b"{}")
    dry = cli("snapshots", "cleanup", "--dry-run").stdout
    assert f"snapshot {snapshot.id} would go: age" in dry
    assert "--delete-orphans" in dry
    assert "n-lost has lost its blob" in dry
    assert fake.snapshots
    done = json.loads(cli("snapshots", "cleanup", "-o", "json").stdout)
    assert [one["id"] for one in done["deleted"]] == [snapshot.id]
    assert fake.snapshots == {}


def test_sessions_watch(cli, fake):
    """A watch prints each state, ends with the session and with its exit code."""
    target = fake.add_target(make_target(1))
    session_id = cli("capture", target.id, "--detach").stdout.strip()
    done = cli("sessions", "watch", session_id)

    assert done.returncode == 0
    assert "succeeded" in done.stdout
    events = cli("sessions", "watch", session_id, "-o", "json").stdout.splitlines()
    assert json.loads(events[-1])["state"] == "SESSION_STATE_SUCCEEDED"


def test_watch_of_a_failed_session(cli, fake):
    """A watch of a session that failed ends with its error."""
    error = S.SessionError(phase="waiting", reason="TARGET_ENDED", message="cannot go on: it died")
    fake.add_session(id="s-1", state=S.SESSION_STATE_FAILED, error=error)
    done = cli("sessions", "watch", "s-1")

    assert done.returncode == 7
    assert "phase 'waiting'" in done.stderr


def test_targets_watch(cli, full):
    """A target's samples are one line each, until it is forgotten."""
    done = cli("targets", "watch", "shop")

    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\d\d:\d\d:\d\d  reachable  rss 100 MiB", lines[0])


def test_download(cli, full):
    """A download gets the snapshot's own name, and its bytes."""
    done = cli("snapshots", "download", "snap-1")

    assert done.returncode == 0, done.stderr
    file = cli.home / done.stdout.strip()
    assert file.read_bytes() == b'{"snapshot": {}}' * 50_000


def test_download_over_cuts(cli, full):
    """A stream that is cut is taken up; the file is whole."""
    full.break_streams = 1
    done = cli("snapshots", "download", "snap-1", "--output", "a.heapsnapshot.zst")

    assert done.returncode == 0, done.stderr
    assert (cli.home / "a.heapsnapshot.zst").read_bytes() == full.blobs["snap-1"]


def test_unavailable_is_tried_again(cli, full):
    """A controller that is away for two tries is asked again; the command succeeds."""
    full.fail_next = [grpc.StatusCode.UNAVAILABLE] * 2
    done = cli("sessions", "list")

    assert done.returncode == 0, done.stderr
    assert full.calls == ["ListSessions"] * 3


def test_retried_create_keeps_its_request_id(cli, full):
    """A retry of a create carries the same request id, so that it makes one session."""
    full.fail_next = [grpc.StatusCode.UNAVAILABLE]
    cli("capture", "shop", "--detach")

    first, second = (r for r in full.requests if isinstance(r, S.CreateSessionRequest))
    assert first.request_id == second.request_id != ""


def test_reports_compare(cli, full):
    """Stored snapshots are compared in the order they are named; a miss is told by name."""
    assert cli("reports", "compare", "snap-1").returncode == 2
    assert "'nosuch'" in cli("reports", "compare", "snap-1", "nosuch").stderr
    done = cli("reports", "compare", "snap-1", "snap-1", "-o", "json")
    assert json.loads(done.stdout)["id"] == "r-compared"
    assert "LeakedReport" in cli("reports", "compare", "snap-1", "snap-1").stdout


def test_version(cli, lone):
    """Both versions; without a controller its absence, and exit code 5."""
    assert "controller 9.9.9 at 127.0.0.1" in cli("version").stdout
    assert json.loads(cli("version", "-o", "json").stdout)["controller"]["version"] == "9.9.9"
    assert lone("version").returncode == 5
    assert lone("version", "--client").returncode == 0


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef"), ("fish", "complete --no-files")],
)
def test_completion(lone, shell, words):
    """The script of each shell names our variable."""
    done = lone("completion", shell)

    assert done.returncode == 0
    assert words in done.stdout
    assert "_MEMWATCHCTL_COMPLETE" in done.stdout


def test_completion_completes(lone):
    """The shell gets the names of commands."""
    env = {
        "_MEMWATCHCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": "memwatchctl se",
        "COMP_CWORD": "1",
    }
    assert "plain,sessions" in Cli(lone.home)(env=env).stdout
