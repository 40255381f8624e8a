"""`--strategy docker` on a real engine: hardened containers, nothing of ours left behind."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.docker.conftest import environment, helpers, memwatchctl
from tests.support.processes import wait_until

pytestmark = pytest.mark.e2e


def capture(engine, name, folder, *flags):
    """A capture that runs in the background; leak while it waits."""
    words = ("-o", "json", "capture", "--strategy", "docker", "--container-id", name)
    return subprocess.Popen(
        memwatchctl(engine, *words, "--output-dir", folder, *flags),
        env=environment(engine),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def leak_after_first(service, folder, count):
    """Keeps `count` more objects once the first snapshot is saved."""
    wait_until(lambda: list(folder.rglob("*before*.heapsnapshot")), 90)
    service.get(f"/leak?n={count}")


def finished(running):
    """What a command printed as JSON, after it has succeeded."""
    out, errors = running.communicate(timeout=180)
    assert running.returncode == 0, errors
    return json.loads(out)


@pytest.mark.parametrize("runtime", ["node", "python"])
def test_hardened_service(request, engine, tmp_path, runtime):
    """A service without shell, network, capability or write access is captured, and serves on."""
    service = request.getfixturevalue(f"{runtime}_service")
    service.get("/leak?n=2000")
    flags = ("--pause", "never") if runtime == "node" else ()
    running = capture(engine, service.name, tmp_path, "--timeframe", "15s", *flags)
    leak_after_first(service, tmp_path, 3000)
    document = finished(running)

    (report,) = document["reports"]
    verdict = json.loads(report["json"])["verdict"]
    assert verdict["verdict"] == "leaking"
    suspect = verdict["suspects"][0]
    assert (suspect["object_class"].split(".")[-1], suspect["new_count"]) == ("LeakedReport", 3000)
    snapshots = document["session"]["targets"][0]["snapshots"]
    assert {s["cost"]["manner"] for s in snapshots} == {"CAPTURE_MANNER_FORKED"}
    assert helpers(engine) == []
    assert service.get("/stats")["leaked"] >= 5000
    assert engine.docker("inspect", "--format", "{{.RestartCount}}", service.name) == "0"


def test_killed_command_leaves_nothing(engine, node_service, tmp_path):
    """Kill -9 of the command and all its programs: the engine itself removes the helper."""
    running = capture(engine, node_service.name, tmp_path, "--timeframe", "10m")
    wait_until(lambda: list(tmp_path.rglob("*before*.heapsnapshot")), 90)
    assert len(helpers(engine)) == 1
    for pid in [*children(running.pid), running.pid]:
        os.kill(pid, signal.SIGKILL)
    running.communicate()

    wait_until(lambda: not helpers(engine), 30)
    assert "leaked" in node_service.get("/stats")


def test_interrupted_command_leaves_nothing(engine, node_service, tmp_path):
    """Ctrl-C cancels the session and removes the helper before the command ends."""
    running = capture(engine, node_service.name, tmp_path, "--timeframe", "10m")
    wait_until(lambda: helpers(engine), 60)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)

    assert running.returncode == 130
    assert helpers(engine) == []


def test_abandoned_helper_is_swept(engine, node_service, tmp_path):
    """A helper whose command is gone, and that lives on, is removed by the next capture."""
    label = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/999999/1"
    engine.run(
        *("--label=dev.memwatch.role=helper", f"--label=dev.memwatch.owner={label}"),
        *("--network=none", "local/node:test", "node", "-e", "setInterval(() => {}, 1000)"),
    )
    done = capture(engine, "nosuch", tmp_path)
    _, errors = done.communicate(timeout=60)

    assert (done.returncode, helpers(engine)) == (3, [])
    assert errors.startswith("cannot capture 'nosuch': the Docker engine has no such container")


#: A service whose heap leaves no room for a snapshot under its container's limit.
FULL_NODE = """
globalThis.kept = [];
for (let i = 0; i < 6e5; i++) kept.push({i});
setInterval(() => console.log(`tick ${process.pid} ${kept.length}`), 100);
"""

#: The same in Python, whose child takes little: it fills up to what a walk leaves to the app.
FULL_PYTHON = """
import os, time
folder = "/sys/fs/cgroup/memory"
names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
if not os.path.exists(folder):
    folder, names = "/sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
def figure(name):
    return int(open(f"{folder}/{name}").read())
def droppable():
    lines = (line.split() for line in open(f"{folder}/memory.stat"))
    return next(int(value) for name, value in lines if name == names[2])
kept = []
while figure(names[0]) - figure(names[1]) + droppable() > 14 << 20:
    kept += [{"number": number} for number in range(2000)]
while True:
    print("tick", os.getpid(), len(kept))
    time.sleep(0.1)
"""


@pytest.fixture(scope="module", params=["node", "python"])
def full(request, engine):
    """A container whose memory is as good as used up."""
    name = f"full-{request.param}"
    if request.param == "node":
        flags, command = (), ("node", "-e", FULL_NODE)
    else:
        flags, command = request.getfixturevalue("hooked"), ("python3", "-c", FULL_PYTHON)
    limits = ("--memory=160m", "--memory-swap=160m", "--restart=always")
    about = (f"--name={name}", "--network=none", "--user=1000", *limits, *flags)
    engine.run(*about, f"local/{request.param}:test", *command)
    wait_until(lambda: "tick" in engine.docker("logs", name), 60)
    yield name
    engine.docker("rm", "--force", name)


def state(engine, name):
    """What a container's operator would see of harm: its process, its restarts, its memory."""
    wanted = "{{.State.Pid}} {{.State.Running}} {{.RestartCount}} {{.State.OOMKilled}}"
    return engine.docker("inspect", "--format", wanted, name)


def answers(engine, name):
    """What the service says now, after it has been asked for it: its own pid, and what it keeps."""
    said = engine.docker("logs", name).splitlines()
    wait_until(lambda: len(engine.docker("logs", name).splitlines()) > len(said) + 2, 20)
    return engine.docker("logs", name).splitlines()[-1]


def test_full_container_is_safe(engine, full, tmp_path):
    """Refused with both numbers; forced, the child that writes the snapshot ends, not the app."""
    before = state(engine, full), answers(engine, full)
    assert before[0].endswith(" true 0 false")

    done = capture(engine, full, tmp_path, "--timeframe", "1s")
    _, errors = done.communicate(timeout=120)
    assert done.returncode == 4, errors
    numbers = re.search(r"needs about (\d+) bytes of extra memory and (\d+) are left", errors)
    assert numbers, errors
    needed, left = map(int, numbers.groups())
    assert needed > left < 160 << 20

    flags = ("--timeframe", "1s", "--force", "--pause", "never")
    done = capture(engine, full, tmp_path, *flags)
    _, errors = done.communicate(timeout=120)
    assert done.returncode == 7, errors
    # Whichever comes first: its own share is used up, or the container is nearly full.
    assert re.search(r"child.*was ended|\d+ bytes are left below the container's limit", errors)
    assert (state(engine, full), answers(engine, full)) == before
    assert list(tmp_path.rglob("*.heapsnapshot")) == []
    assert helpers(engine) == []


def test_image_that_is_missing(engine, node_service, tmp_path):
    """Without the agent's image the sentence says how to get it."""
    done = capture(engine, node_service.name, tmp_path, "--agent-image", "nosuch/image:1")
    _, errors = done.communicate(timeout=60)

    assert done.returncode == 1
    assert "no image 'nosuch/image:1'" in errors
    assert helpers(engine) == []


def children(pid):
    """Every process below one, deepest first."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [*children(int(child)), int(child)]
    return found
