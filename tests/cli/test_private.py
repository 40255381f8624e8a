"""Without a server, on real processes: private programs do the work and leave no trace."""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.fakes.controller import serving
from tests.support import fork_addon, runtimes
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import APPS, NODE_HOOK, python_service

pytestmark = pytest.mark.e2e


@pytest.fixture
def here():
    """The program in a short folder of its own, which is the place for temporary files too."""
    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        (Path(name) / "tmp").mkdir()
        yield Cli(Path(name))


def temporary(here):
    """Runs the program with temporary files where the test can see them."""
    return {"TMPDIR": str(here.home / "tmp")}


def get(port, path):
    """A JSON answer of a leaking service."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return json.load(response)


def answers(port):
    """Whether a service answers."""
    with contextlib.suppress(OSError):
        get(port, "/stats")
        return True
    return False


@pytest.fixture
def python(here):
    """A leaking Python service with the hook: its process and port."""
    port = free_port()
    hooks = here.home / "h"
    hooks.mkdir(mode=0o700)
    with python_service(Path(sys.executable), port, service="shop", hooks=hooks) as process:
        wait_until(lambda: answers(port))
        yield process, port


@pytest.fixture
def dashboard(fake):
    """A fake controller to upload to, and its address."""
    with serving(fake) as address:
        yield fake, address


@contextlib.contextmanager
def node(*flags, env=None):
    """A leaking Node.js service: its process and port."""
    binary = runtimes.any_node()
    if binary is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    port = free_port()
    with running([binary, *flags, APPS / "leaky_node.js", str(port)], env=env) as process:
        wait_until(lambda: answers(port))
        yield process, port


@contextlib.contextmanager
def leaking_node(count):
    """The same, with objects leaked already, on an inspector port of its own."""
    with node(env={"NODE_OPTIONS": "--inspect-port=0"}) as (process, port):
        get(port, f"/leak?n={count}")
        yield process, port


def count(data, name):
    """How many objects of a class a heap snapshot has, counted by hand."""
    heap = json.loads(data)
    fields = heap["snapshot"]["meta"]["node_fields"]
    index = heap["strings"].index(name)
    kind, label, width = fields.index("type"), fields.index("name"), len(fields)
    object_ = heap["snapshot"]["meta"]["node_types"][0].index("object")
    nodes = heap["nodes"]
    return sum(
        nodes[i + label] == index and nodes[i + kind] == object_
        for i in range(0, len(nodes), width)
    )


def assert_no_trace(here):
    """No private folder is left, and no process that names one."""
    folder = str(here.home / "tmp")

    def gone():
        return os.listdir(folder) == [] and not users_of(folder)

    wait_until(gone, 20, f"{os.listdir(folder)}, {users_of(folder)}")


def users_of(folder):
    """Processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and folder in (entry / "cmdline").read_text():
                found.append(entry.name)
    return found


def test_snapshot_of_python(here, python):
    """One plain file for its owner only, with the planted objects exactly; no trace is left."""
    process, port = python
    get(port, "/leak?n=321")
    done = here("snapshot", "--pid", process.pid, "--output", "a.heapsnapshot", env=temporary(here))

    assert done.returncode == 0, done.stderr
    file = here.home / "a.heapsnapshot"
    assert count(file.read_bytes(), "__main__.LeakedReport") == 321
    assert file.stat().st_mode & 0o777 == 0o600
    assert answers(port)
    assert_no_trace(here)


def test_snapshot_of_node(here):
    """Node.js is attached to, and left as it was; .gz says how to write; JSON says what it cost."""
    with node("--inspect-port=0") as (process, port):
        get(port, "/leak?n=123")
        done = here(
            "snapshot", "--pid", process.pid, "--output", "a.heapsnapshot.gz", "-o", "json",
            env=temporary(here),
        )  # fmt: skip

        assert done.returncode == 0, done.stderr
        snapshot = json.loads(done.stdout)["snapshot"]
        assert snapshot["way"] == "CAPTURE_WAY_ATTACH"
        data = gzip.decompress((here.home / "a.heapsnapshot.gz").read_bytes())
        assert len(data) == int(snapshot["raw_size_bytes"])
        assert count(data, "LeakedReport") == 123
        assert answers(port)
    assert_no_trace(here)


def test_snapshot_through_the_node_hook(here):
    """A service with the hook is captured through it where that is asked for."""
    (here.home / "h").mkdir(mode=0o700)
    env = {"NODE_OPTIONS": f"--require={NODE_HOOK}", "MEMWATCH_HOOK_DIR": str(here.home / "h")}
    with node(env=env) as (process, port):
        get(port, "/leak?n=77")
        file = here.home / "a.heapsnapshot"
        done = here("snapshot", "--pid", process.pid, "--output", file, "--way", "hook")

        assert done.returncode == 0, done.stderr
        assert count(file.read_bytes(), "LeakedReport") == 77


@pytest.mark.parametrize(
    "command", [["sleep", "60"], ["python", "-c", "import time; time.sleep(60)"]]
)
def test_process_without_a_way_in(here, command):
    """What cannot be captured is refused with the reason, exit code 4, and lives on."""
    command = [sys.executable if word == "python" else word for word in command]
    with running(command) as process:
        done = here("snapshot", "--pid", process.pid, "--output", "a", env=temporary(here))

        assert done.returncode == 4, done.stderr
        assert done.stderr.startswith(f"cannot take snapshot of pid {process.pid}: ")
        assert done.stderr.count("\n") == 1
        assert process.poll() is None
    assert not (here.home / "a").exists()
    assert_no_trace(here)


def test_capture_says_what_grew(here, python, dashboard):
    """`capture --pid`: two plain files under ./snapshots/ID/, the leak exactly, and an upload."""
    process, port = python
    fake, address = dashboard
    with here.start(
        "capture", "--pid", process.pid, "--timeframe", "3s", "-o", "json",
        "--controller", address, "--dashboard-url", "http://dashboard.example:9467",
        env=temporary(here) | {"MEMWATCH_SESSION_ID": "release-42"},
    ) as program:  # fmt: skip
        folder = here.home / "snapshots" / "release-42"
        wait_until(lambda: list(folder.glob("*_before_*")), 120, "the first file")
        get(port, "/leak?n=500")
        out, err = program.communicate(timeout=180)

    assert program.returncode == 0, err
    document = json.loads(out)
    rows = {row["class_name"]: row for row in document["reports"][0]["classes"]}
    (row,) = (row for name, row in rows.items() if "LeakedReport" in name)
    assert int(row["count_after"]) - int(row["count_before"]) == 500
    before, after = sorted(folder.iterdir())
    assert [str(here.home / name) for name in document["files"]] == [str(before), str(after)]
    millis = before.name.split("_")[2]
    assert before.name.startswith(f"session_release-42_{millis}_before_20")
    assert count(after.read_bytes(), "__main__.LeakedReport") == 500
    uploaded = [(s.session_id, s.phase, s.service) for s in fake.snapshots.values()]
    assert uploaded == [("release-42", phase, "shop") for phase in ("before", "after")]
    assert [s.raw_size_bytes for s in fake.snapshots.values()] == [
        file.stat().st_size for file in (before, after)
    ]
    assert_no_trace(here)


def test_capture_of_node_never_pauses(here):
    """`capture --pid --pause never`: children write both files; the leak is told exactly."""
    if isinstance(addon := fork_addon.built(), str):
        pytest.skip(addon)
    with (
        leaking_node(700) as (process, port),
        here.start(
            "capture", "--pid", process.pid, "--timeframe", "2s", "--pause", "never", "-o", "json",
            env=temporary(here),
        ) as program,
    ):  # fmt: skip
        wait_until(lambda: list(here.home.glob("snapshots/*/*_before_*")), 120, "the first file")
        get(port, "/leak?n=1300")
        out, err = program.communicate(timeout=180)

        assert program.returncode == 0, err
        assert get(port, "/stats")["leaked"] == 700 + 1300
    document = json.loads(out)
    verdict = json.loads(document["reports"][0]["json"])["verdict"]
    assert (verdict["verdict"], verdict["told_by"]) == ("leaking", "place")
    (suspect,) = verdict["suspects"]
    assert (suspect["name"], suspect["object_class"]) == ("reportCache", "LeakedReport")
    assert (suspect["counts"], suspect["new_count"]) == ([700, 2000], 1300)
    costs = [s["cost"] for s in document["session"]["targets"][0]["snapshots"]]
    assert [cost["manner"] for cost in costs] == ["CAPTURE_MANNER_FORKED"] * 2
    for cost in costs:
        # What the blocking way takes is what the child took; no stopwatch can tell more here.
        assert 0 < float(cost["pause_millis"]) < float(cost["cpu_millis"])
    assert_no_trace(here)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_capture_that_is_ended_leaves_no_trace(here, python, sent):
    """Ctrl-C or SIGKILL in the wait: what was taken stays, programs and folder go."""
    process, port = python
    with here.start(
        "capture", "--pid", process.pid, "--timeframe", "1h", env=temporary(here)
    ) as program:
        wait_until(
            lambda: list((here.home / "snapshots").glob("*/*_before_*.heapsnapshot")), 120, "a file"
        )
        os.kill(program.pid, sent)
        _, err = program.communicate(timeout=60)

    expected = {signal.SIGINT: 130, signal.SIGKILL: -9}
    assert program.returncode == expected[sent], err
    assert "Traceback" not in err
    assert_no_trace(here)
    assert answers(port)


def test_internal_snapshot(here):
    """In a pid namespace of its own the one process is found; two are an error that lists both."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("cannot make a pid namespace (unshare needs root)")
    (here.home / "h").mkdir(mode=0o700)
    script = here.home / "run.sh"
    ctl = " ".join(here.command("internal-snapshot"))
    app = f"{sys.executable} {APPS / 'leaky_python.py'}"
    hook = APPS.parents[1] / "hook"
    script.write_text(
        f"""
        app() {{ MEMWATCH_HOOK_DIR={here.home}/h PYTHONPATH={hook}/bootstrap:{hook} {app} > $1 & }}
        wait_for() {{ while ! grep -q listening $1; do sleep 0.1; done; }}
        app one; wait_for one
        {ctl} --file first.heapsnapshot; echo "first: $?"
        app two; wait_for two
        {ctl} --file second.heapsnapshot; echo "second: $?"
        """
    )
    done = subprocess.run(
        [*unshare, "sh", script], env=here.env | temporary(here), cwd=here.home,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert "first: 0" in done.stdout, done.stderr
    assert "second: 3" in done.stdout
    assert "2 processes could be meant" in done.stderr
    assert done.stderr.count("leaky_python.py") >= 2
    assert (here.home / "first.heapsnapshot").exists()
    assert not (here.home / "second.heapsnapshot").exists()
