"""Targets by cluster names, attach, doctor and explain against a fake controller."""

import json

import click
import pytest

from memwatch_proto.v1 import clusters_pb2, controllers_pb2, reports_pb2, sessions_pb2, targets_pb2
from memwatchctl import replicas, selectors
from tests.fakes.controller import make_target


@pytest.mark.parametrize(
    ("word", "kind", "name"),
    [
        ("deploy/web", "deployment", "web"),
        ("deployment.apps/web", "deployment", "web"),
        ("sts/db", "statefulset", "db"),
        ("pod/web-7d9f", "pod", "web-7d9f"),
        ("po/web-7d9f", "pod", "web-7d9f"),
        ("ds/log", "daemonset", "log"),
        ("job/once", "job", "once"),
    ],
)
def test_names_as_kubectl_has_them(word, kind, name):
    """Kinds and their short forms; a pod keeps its name for a controller outside of clusters."""
    made = selectors.selector(word, namespace="shop")
    assert (made.workload.kind, made.workload.name, made.namespace) == (kind, name, "shop")
    assert made.name == (name if kind == "pod" else "")
    assert not selectors.is_empty(made)
    assert selectors.describe(made) == f"'{kind}/{name}' in namespace 'shop'"


def test_words_that_are_no_cluster_names_stay_what_they_were():
    """A slash in a service's name, and the forms of before."""
    assert selectors.selector("team/web").name == "team/web"
    assert selectors.selector("service/web").service == "web"
    assert not selectors.selector("deploy/").HasField("workload")
    with pytest.raises(click.UsageError):
        selectors.pods_with("a\nb", "shop")


def asked(fake):
    return next(r for r in fake.requests if isinstance(r, sessions_pb2.CreateSessionRequest)).plan


def test_capture_asks_for_a_canary(cli, fake):
    """The plan carries workload, choice and container; without pods they are a usage error."""
    fake.add_target(make_target(1))
    words = ("deploy/web", "-n", "shop", "-c", "app", "--pick", "oldest", "--beside-newest")
    done = cli("capture", *words, "--timeframe", "1s")
    assert done.returncode == 0, done.stderr
    plan = asked(fake)
    assert plan.selector == targets_pb2.TargetSelector(
        namespace="shop",
        container="app",
        workload=targets_pb2.Workload(kind="deployment", name="web"),
    )
    assert (plan.pick, plan.beside_newest, plan.fleet) == (
        sessions_pb2.POD_PICK_OLDEST,
        True,
        False,
    )
    assert cli("capture", "shop", "--pick", "all").returncode == 2


def test_attach_captures_and_ends_the_agent(cli, fake):
    """Agent, session, end; the dry run shows the patch and captures nothing."""
    target = fake.add_target(make_target(1))
    fake.attached = clusters_pb2.AttachAgentResponse(
        patch=json.dumps({"spec": {"ephemeralContainers": []}}),
        container="memwatch-attached-1",
        agent={"id": "a-1"},
        targets=[target],
        notes=["its spool lies on its own layer"],
    )
    shown = cli("attach", "web-1", "-n", "shop", "--dry-run", "-o", "json")
    assert json.loads(shown.stdout)["patch"] == {"spec": {"ephemeralContainers": []}}
    assert "CreateSession" not in fake.calls
    done = cli("attach", "pod/web-1", "-n", "shop", "--timeframe", "1s")
    assert done.returncode == 0, done.stderr
    assert "never removes an ephemeral container" in done.stderr
    assert list(asked(fake).selector.ids) == [target.id]
    assert [c for c in fake.calls if "Agent" in c] == ["AttachAgent", "AttachAgent", "DetachAgent"]


def test_doctor_says_what_is_wrong_and_ends_so(cli, fake):
    """A warning is exit code 0 unless --strict, a failure 1; -o json has every fact."""
    state = controllers_pb2
    fake.checks = [
        controllers_pb2.Check(name="store", state=state.CHECK_STATE_OK, message="it answers"),
        controllers_pb2.Check(
            name="rights",
            state=state.CHECK_STATE_WARNING,
            message="one is missing",
            next_step="add it",
            subjects=["attach: patch pods/ephemeralcontainers"],
        ),
    ]
    shown = cli("doctor")
    assert shown.returncode == 0, shown.stderr
    assert "→ add it" in shown.stdout
    assert "attach: patch pods/ephemeralcontainers" in shown.stdout
    assert cli("doctor", "--strict").returncode == 1
    fake.checks[0].state = state.CHECK_STATE_FAILED
    failed = cli("doctor", "-o", "json")
    assert failed.returncode == 1
    found = {one["name"]: one["state"] for one in json.loads(failed.stdout)["checks"]}
    assert found == {
        "client": "warning",  # the fake is of another version
        "client clock": "ok",
        "store": "failed",
        "rights": "warning",
    }


def test_explain_a_reason_and_a_session(cli, fake):
    """The page's words for a reason; for a session its own sentence and those."""
    assert "Raise the limit" in cli("explain", "headroom").stdout
    fake.add_target(make_target(1))
    fake.error = sessions_pb2.SessionError(
        phase="capturing_before", reason="HEADROOM", message="cannot capture process 7: no room"
    )
    fake.script = (sessions_pb2.SESSION_STATE_FAILED,)
    cli("capture", "shop", "--timeframe", "1s")
    shown = cli("explain", next(iter(fake.sessions)))
    assert "cannot capture process 7: no room" in shown.stdout
    assert "Raise the limit" in shown.stdout
    assert cli("explain", "nothing-of-that-name").returncode == 3


def report(target, *classes):
    rows = [
        {"class_name": name, "count_after": count, "shallow_size_after_bytes": size}
        for name, count, size in classes
    ]
    return reports_pb2.Report(target_id=target.id, classes=rows)


def test_pods_side_by_side():
    """The newest is the measure: what the other holds more of, most first, without noise."""
    old, new = make_target(1, pod="web-old"), make_target(2, pod="web-new")
    old.start_time.FromMilliseconds(1)
    new.start_time.FromMilliseconds(2)
    session = sessions_pb2.Session(targets=[{"target": old}, {"target": new}])
    leaking = report(old, ("Order", 900, 9 << 20), ("Cart", 90, 1 << 20), ("Map", 2, 300))
    fresh = report(new, ("Order", 10, 1 << 20))
    first, last = replicas.side_by_side(session, [leaking, fresh])
    assert (first.name, first.fresh, last.name, last.fresh) == ("web-old", False, "web-new", True)
    assert [(e.class_name, e.excess_bytes, e.fresh_count) for e in first.excess] == [
        ("Order", 8 << 20, 10),
        ("Cart", 1 << 20, 0),
    ]
    assert last.excess == ()
    assert replicas.side_by_side(session, [fresh]) == []
