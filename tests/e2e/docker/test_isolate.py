"""`--isolate replace` on a real engine: callers under load notice nothing, not even a kill -9."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.e2e.docker.conftest import environment, helpers, memwatchctl
from tests.support.processes import wait_until, with_parent
from tests.support.stack import APPS

pytestmark = pytest.mark.e2e

#: Calls by name again and again, each over a connection of its own; tells at SIGTERM who answered.
CALLER = """
import collections, http.client, json, signal, sys, threading
ended, seen = threading.Event(), collections.Counter()
def call(name):
    try:
        connection = http.client.HTTPConnection(name, 8080, timeout=15)
        connection.request("GET", "/stats", headers={"Connection": "close"})
        who = connection.sock.getpeername()[0]
        answer = connection.getresponse()
        return who if answer.status == 200 and answer.read() else f"failed {answer.status}"
    except Exception as error:
        return f"failed {error!r}"
def loop(name):
    while not ended.wait(0.05):
        seen[name + " " + call(name)] += 1
signal.signal(signal.SIGTERM, lambda *_: ended.set())
signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(seen), flush=True))
threads = [threading.Thread(target=loop, args=(name,)) for name in sys.argv[1:]]
[thread.start() for thread in threads]
while not ended.wait(0.2): pass
[thread.join() for thread in threads]
print(json.dumps(seen), flush=True)
"""


#: A replacement without a capture, and without a guardian.
ALONE = """
import sys, time
from memwatchctl import images, isolation, replacement, rotation
settings = isolation.Settings(replacement.Wish(), rotation.Patience(), images.AGENT)
with isolation.decided(sys.argv[1], settings, print).aside():
    time.sleep(600)
"""


@pytest.fixture
def shop(engine):
    """A service that is called by its name and by an alias in a network of its own."""
    engine.docker("network", "create", "--subnet=10.77.0.0/24", "shops")
    engine.run(
        *("--name=shop", "--network=shops", "--network-alias=web", "--user=1000", "--memory=256m"),
        *("--read-only", "--cap-drop=ALL", "--env=COLOUR=red", "--volume", f"{APPS}:/app:ro"),
        *("--label=com.docker.compose.project=shops", "--label=team=shops"),
        *("local/node:test", "node", "/app/leaky_node.js", "8080", "0.0.0.0"),
    )
    wait_until(lambda: "listening" in engine.docker("logs", "shop"), 20)
    yield "shop"
    for name in ("shop", "caller", *replacements(engine)):
        engine.docker("rm", "--force", name, check=False)
    engine.docker("network", "rm", "shops")


@pytest.fixture
def caller(engine, shop):
    """Who calls the service all the time."""
    engine.run(
        *("--name=caller", "--network=shops", "local/python:test"),
        *("python3", "-c", CALLER, "shop", "web"),
    )
    wait_until(lambda: counts(engine), 20)
    return "caller"


def counts(engine):
    """Who answered the caller so far, and how often."""
    engine.docker("kill", "--signal=USR1", "caller")
    lines = engine.docker("logs", "caller").splitlines()
    return json.loads(lines[-1]) if lines else {}


def inspect(engine, name):
    return json.loads(engine.docker("inspect", name))[0]


def state(engine):
    """What a caller and an operator can see of the service."""
    found = inspect(engine, "shop")
    places = found["NetworkSettings"]["Networks"]
    names = {
        network: (place["IPAddress"], set(place["Aliases"])) for network, place in places.items()
    }
    return found["Id"], found["State"]["Pid"], names


def replacements(engine):
    """The replacements that are there."""
    filters = ("--filter", "label=dev.memwatch.role=replacement")
    return engine.docker("ps", "-aq", "--format", "{{.Names}}", *filters).split()


def capture(engine, folder, *flags):
    words = ("capture", "--strategy", "docker", "--container-id", "shop", "--isolate", "replace")
    command = memwatchctl(
        engine, *words, "--output-dir", folder, "--timeframe", "1s", "--drain", "3s", *flags
    )
    return started(command, engine, folder)


def started(command, engine, folder):
    """A program that is killed with this one."""
    env = {**environment(engine), "XDG_STATE_HOME": str(folder.parent / "state")}
    return subprocess.Popen(
        with_parent(command), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(engine, folder, *words):
    env = {**environment(engine), "XDG_STATE_HOME": str(folder.parent / "state")}
    return subprocess.run(
        memwatchctl(engine, *words), env=env, capture_output=True, text=True, check=False
    )


def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def wait_aside(engine, running):
    """Waits until the original is out of the rotation."""
    wait_until(lambda: aside(engine) or running.poll() is not None, 240)
    assert running.poll() is None, running.communicate()[1]


def aside(engine):
    """Whether the original is out of the rotation."""
    names = engine.docker("ps", "--format", "{{.Names}}").split()
    return any(re.fullmatch(r"shop-mw[0-9a-f]{8}-aside", name) for name in names)


def test_callers_notice_nothing(engine, shop, caller, tmp_path):
    """A capture, one that is killed, and one killed with its guardian: no request fails."""
    before = state(engine)
    address = before[2]["shops"][0]

    # The plan is told, and nothing is changed.
    done = run(
        engine, tmp_path, "-o", "json", "capture", "--strategy=docker", "--container-id=shop",
        "--isolate=replace", "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["steps"]) == 6
    assert told["container"]["Labels"]["team"] == "shops"
    assert "com.docker.compose.project" not in told["container"]["Labels"]
    assert "COLOUR=red" in told["container"]["Env"]
    assert (state(engine), replacements(engine)) == (before, [])

    # Captured while another serves; everything is as before at the end.
    running = capture(engine, tmp_path / "a")
    wait_aside(engine, running)
    (replacement,) = replacements(engine)
    theirs = inspect(engine, replacement)
    assert theirs["HostConfig"]["Memory"] == 256 * 1024 * 1024
    assert (theirs["Config"]["User"], theirs["HostConfig"]["ReadonlyRootfs"]) == ("1000", True)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    assert "back in the rotation" in errors
    assert len(list((tmp_path / "a").rglob("*.heapsnapshot"))) == 2
    assert (state(engine), replacements(engine), helpers(engine)) == (before, [], [])
    seen = counts(engine)
    others = {who for who in seen if not who.endswith(f" {address}")}
    assert {who.split()[0] for who in others} == {"shop", "web"}

    # Killed: the guardian undoes it.
    running = capture(engine, tmp_path / "b", "--timeframe", "10m")
    wait_aside(engine, running)
    kill(running.pid)
    running.communicate()
    wait_until(lambda: not replacements(engine) and not helpers(engine), 120)
    assert state(engine) == before

    # Killed where no guardian is: the ledger tells it, and `isolate undo` undoes it.
    folder = tmp_path / "c"
    alone = started([sys.executable, "-c", ALONE, before[0]], engine, folder)
    wait_aside(engine, alone)
    kill(alone.pid)
    alone.communicate()
    (change,) = json.loads(run(engine, folder, "-o", "json", "isolate", "list").stdout)["changes"]
    assert (change["container"], change["runs"]) == ("shop", False)
    undone = run(engine, folder, "isolate", "undo", change["id"])
    assert undone.returncode == 0, undone.stderr
    assert (state(engine), replacements(engine)) == (before, [])
    assert "changes: []" in run(engine, folder, "-o", "yaml", "isolate", "list").stdout

    engine.docker("stop", "caller")
    seen = json.loads(engine.docker("logs", "caller").splitlines()[-1])
    assert not [who for who in seen if "failed" in who], seen
    assert sum(seen.values()) > 200


def test_refused_before_anything_is_changed(engine, tmp_path):
    """A network that keeps no address is told by the engine alone, and leaves nothing behind."""
    engine.docker("network", "create", "plain")
    engine.run(
        "--name=shop", "--network=plain", "local/node:test", "node", "-e", "setInterval(()=>0,1e3)"
    )
    try:
        command = [sys.executable, "-c", ALONE, inspect(engine, "shop")["Id"]]
        _, errors = started(command, engine, tmp_path / "a").communicate(timeout=120)
        assert "network 'plain' has no subnet of its own" in errors
        assert (replacements(engine), helpers(engine)) == ([], [])
    finally:
        engine.docker("rm", "--force", "shop")
        engine.docker("network", "rm", "plain")
