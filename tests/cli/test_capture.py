"""`capture` through a controller: what is asked for, what is shown, how it ends."""

import json
import os
import signal
import time

import pytest

from memwatch_proto.v1 import common_pb2, sessions_pb2, targets_pb2
from tests.fakes.controller import make_target
from tests.support.processes import wait_until

S = sessions_pb2


def test_capture_says_what_grew(cli, fake):
    """The report's table, the snapshots and their file names end a capture."""
    fake.add_target(make_target(1))
    done = cli("capture", "shop", "--timeframe", "0.1")

    assert done.returncode == 0, done.stderr
    assert "LeakedReport grew by 2,000 objects" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("LeakedReport  "))
    assert row.split()[1:] == ["10", "2,010", "+2,000", "2,000", "0", "94.2", "KiB", "+93.8", "KiB"]
    assert done.stdout.count(".heapsnapshot") == 2
    assert "capturing before" in done.stderr


def test_names_from_outside_are_escaped(cli, fake):
    """A class name with an escape sequence and a newline cannot write to the terminal."""
    fake.add_target(make_target(1))
    done = cli("capture", "shop", "--timeframe", "1s")

    assert "\x1b" not in done.stdout
    assert r"Evil\x1b[31m\nclass" in done.stdout


def test_capture_as_json(cli, fake):
    """JSON has exact sizes, the session, the reports and the files."""
    fake.add_target(make_target(1))
    done = cli("capture", "shop", "--timeframe", "1s", "-o", "json")

    document = json.loads(done.stdout)
    assert set(document) == {"session", "reports", "replicas", "files"}
    assert document["session"]["state"] == "SESSION_STATE_SUCCEEDED"
    assert document["reports"][0]["classes"][0]["shallow_size_after_bytes"] == "96480"


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        (["--timeframe", "5"], {"timeframe_millis": 300_000}),
        (["--timeframe", "0.1"], {"timeframe_millis": 6_000}),
        (["--timeframe", "2h"], {"timeframe_millis": 7_200_000}),
        (["--snapshots", "5"], {"snapshots": 5}),
        (["--way", "hook"], {"way": common_pb2.CAPTURE_WAY_HOOK}),
        (["--force"], {"force": True}),
        (["--max-pause", "500"], {"max_pause_millis": 500}),
        (["--max-pause", "2s"], {"max_pause_millis": 2_000}),
        (["--service-name", "web"], {"service": "web"}),
    ],
)
def test_flags_reach_the_plan(cli, fake, flags, plan):
    """Each flag is the field of the plan that it names."""
    target = fake.add_target(make_target(1))
    done = cli("capture", target.id, "--detach", *flags)

    assert done.returncode == 0, done.stderr
    (session,) = fake.sessions.values()
    assert {name: getattr(session.plan, name) for name in plan} == plan


@pytest.mark.parametrize(
    ("words", "selector"),
    [
        (["shop"], {"name": "shop"}),
        (["service/shop"], {"service": "shop"}),
        (["container/4f5e1a"], {"container_id": "4f5e1a"}),
        (["pid/4001"], {"pid": 4001}),
        (["--container-id", "4f5e1a"], {"container_id": "4f5e1a"}),
        (["--service-name", "shop"], {"service": "shop"}),
        (["shop", "--namespace", "eu"], {"name": "shop", "namespace": "eu"}),
        (["-l", "app=web"], {"labels": {"app": "web"}}),
    ],
)
def test_words_reach_the_selector(cli, fake, words, selector):
    """A TARGET word and the ancestor's flags say which target is meant."""
    fake.add_target(
        make_target(1, container_id="4f5e1a" * 8, namespace="eu", labels={"app": "web"})
    )
    done = cli("capture", *words, "--detach")

    assert done.returncode == 0, done.stderr
    (session,) = fake.sessions.values()
    assert session.plan.selector == targets_pb2.TargetSelector(**selector)


def test_detach_prints_the_id_only(cli, fake):
    """`--detach` prints the session's id and nothing else."""
    fake.add_target(make_target(1))
    done = cli("capture", "shop", "--detach")

    assert (done.stdout.strip(), done.stderr) == (next(iter(fake.sessions)), "")


def test_session_id_of_the_environment(cli, fake):
    """MEMWATCH_SESSION_ID names the session, as in the ancestor."""
    fake.add_target(make_target(1))
    done = cli("capture", "shop", "--detach", env={"MEMWATCH_SESSION_ID": "release-42"})

    assert done.stdout == "release-42\n"


def test_nothing_named(cli):
    """A capture of nothing is a usage error with the ways to name a target."""
    done = cli("capture")

    assert done.returncode == 2
    assert "TARGET, --container-id, --service-name, --selector or --pid" in done.stderr


def test_unknown_target(cli):
    """No match: one line, the name, the next step, exit code 3."""
    done = cli("capture", "nosuch")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("cannot capture 'nosuch': no target matches;")
    assert done.stderr.count("\n") == 1


def test_two_targets(cli, fake):
    """Two matches: both are listed by id, exit code 3."""
    targets = [fake.add_target(make_target(number)) for number in (1, 2)]
    done = cli("capture", "shop")

    assert done.returncode == 3
    assert all(target.id in done.stderr for target in targets)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("strategy", ["docker", "k8s"])
def test_strategy_without_such_a_target(cli, fake, strategy):
    """`--strategy` finds only targets of that place, and says what to do where there is none."""
    fake.add_target(make_target(1))
    done = cli("capture", "shop", env={"MEMWATCH_STRATEGY": strategy})

    assert done.returncode == 3
    assert "no connected agent sees such a" in done.stderr


def test_strategy_picks_the_pod(cli, fake):
    """`--strategy k8s` takes the pod, not the process of the same name outside."""
    fake.add_target(make_target(1))
    pod = fake.add_target(make_target(2, pod="shop-7d9f", namespace="eu"))
    done = cli("capture", "shop", "--strategy", "k8s", "--detach")

    assert done.returncode == 0, done.stderr
    (session,) = fake.sessions.values()
    assert list(session.plan.selector.ids) == [pod.id]
    assert session.plan.strategy == "k8s"


def test_dashboard_url_names_the_controller(cli, fake):
    """A dashboard's host is the controller's where nothing else names one."""
    done = cli(
        "capture", "shop", "--dashboard-url", "http://127.0.0.1:9467",
        env={"MEMWATCH_CONTROLLER": ""},
    )  # fmt: skip

    assert done.returncode == 5
    assert "'127.0.0.1:9466'" in done.stderr


def failing(fake, reason, phase="capturing_before"):
    """Lets the next session fail."""
    fake.add_target(make_target(1))
    fake.script = (S.SESSION_STATE_CAPTURING_BEFORE, S.SESSION_STATE_FAILED)
    fake.error = S.SessionError(
        phase=phase, reason=reason, message="cannot take snapshot: 800 MiB needed, 200 MiB free"
    )


@pytest.mark.parametrize(
    ("reason", "code"),
    [("HEADROOM", 4), ("TARGET_ENDED", 7), ("CAPTURE_IN_PROGRESS", 8), ("ANALYSIS_FAILED", 7)],
)
def test_failed_session(cli, fake, reason, code):
    """A session that fails names its phase and its reason; the exit code says which kind."""
    failing(fake, reason)
    done = cli("capture", "shop", "--timeframe", "1s")

    assert (done.returncode, done.stdout) == (code, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("cannot finish session 's-")
    assert "failed in phase 'capturing_before': cannot take snapshot: 800 MiB needed" in error


def test_cancelled_by_somebody_else(cli, fake):
    """A session that somebody else cancels ends the capture with exit code 7."""
    fake.add_target(make_target(1))
    fake.script = (S.SESSION_STATE_CANCELLED,)
    done = cli("capture", "shop", "--timeframe", "1s")

    assert done.returncode == 7
    assert "was cancelled" in done.stderr


@pytest.mark.parametrize(
    ("sent", "code", "state"),
    [
        (signal.SIGINT, 130, S.SESSION_STATE_CANCELLED),
        (signal.SIGTERM, 143, S.SESSION_STATE_CANCELLED),
        (signal.SIGHUP, 143, S.SESSION_STATE_WAITING),
    ],
)
def test_interrupted(cli, fake, sent, code, state):
    """Ctrl-C cancels the session and says so; a terminal that goes away leaves it running."""
    fake.add_target(make_target(1))
    fake.hold_at = S.SESSION_STATE_WAITING
    with cli.start("capture", "shop", "--timeframe", "1h") as process:
        wait_until(lambda: any(s.state == fake.hold_at for s in fake.sessions.values()))
        time.sleep(0.3)
        os.kill(process.pid, sent)
        out, err = process.communicate(timeout=20)

    (session,) = fake.sessions.values()
    assert (process.returncode, session.state, out) == (code, state, "")
    assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert err.endswith(
            f"session {session.id} is cancelled; snapshots already taken are kept\n"
        )


def test_watch_survives_a_break(cli, fake):
    """A controller that goes away during a session is watched again; the capture succeeds."""
    fake.add_target(make_target(1))
    fake.break_streams = 1
    done = cli("capture", "shop", "--timeframe", "1s")

    assert done.returncode == 0, done.stderr
    assert "is away; trying again" in done.stderr


def test_detach_without_server(cli):
    """`--pid` and `--detach` exclude each other, with the way out."""
    done = cli("capture", "--pid", "1", "--detach")

    assert done.returncode == 2
    assert "memwatchctl serve" in done.stderr


def test_pid_that_does_not_exist(cli):
    """A pid without a process is refused before anything is started."""
    done = cli("capture", "--pid", 2**22 - 3, "--timeframe", "1s")

    assert done.returncode == 3
    assert done.stderr == f"cannot capture pid {2**22 - 3}: there is no such process\n"
    assert not (cli.home / "snapshots").exists()
