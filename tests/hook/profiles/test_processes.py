"""Profiles of real processes, over the hook's socket."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.hook.client import CANCEL, ERROR, PROGRESS, RESULT, connected, wait_for_sockets
from tests.support import processes

STOP = 8
APP = """
import os, sys, threading, time
ROWS = []
class Row:
    def __init__(self, number):
        self.name = "row %d" % number
def make(number):
    ROWS.append(Row(number))
def work():
    while True:
        for number in range(20):
            make(number)
        time.sleep(0.005)
print("memwatch_hook.profiles" in sys.modules, "tracemalloc" in sys.modules, flush=True)
threading.Thread(target=work, daemon=True).start()
time.sleep(60)
"""
MAKE_LINE = 7


def begun(client, **options):
    """Asks for a profile and waits until it records."""
    client.request("profile", **options)
    assert client.frame()[0] == PROGRESS


def test_types_and_allocations(python, hooked, hook_dir, tmp_path):
    """On every interpreter: what grows, by type and by line; nothing is imported before."""
    app = tmp_path / "app.py"
    app.write_text(APP)
    with hooked(python, app) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            assert "profile" in client.hello["commands"]
            looks = json.loads(client.ask("profile", kind="types", seconds=0.3).data)["looks"]
            answer = client.ask("profile", kind="allocations", seconds=0.3)
            assert client.ask("stats").body["result"]["tracemalloc"] is None
        assert target.poll() is None
        assert (hook_dir / "log").read_text() == "False False\n"
    rows = [{row[0]: row[1] for row in look["rows"]} for look in looks]
    assert rows[1]["__main__.Row"] > rows[0]["__main__.Row"] > 0

    assert answer.kind == RESULT, answer.body
    found = json.loads(answer.data)
    lines = [(found["files"][file], line) for file, line in found["frame_table"]]
    made = [row for row in found["stacks"] if lines[row[4][0]] == (str(app), MAKE_LINE + 1)]
    assert sum(row[2] for row in made) > 20
    assert answer.body["result"]["extra_memory_bytes"] > 0


def test_a_recording_in_the_way_of_others(hooked, hook_dir, tmp_path):
    """Stopped, cancelled, left alone: the app is as it was; a forked child is never traced."""
    app = tmp_path / "app.py"
    app.write_text(APP)
    with hooked(sys.executable, app) as target:
        assert target.stdin is None
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client, connected(path) as other:
            begun(client, kind="allocations", seconds=600)
            assert other.ask("stats").body["result"]["allocated_blocks"] > 0
            assert other.ask("heap").body["reason"] == "BUSY"
            client.send(STOP, b"")
            stopped = client.answer()
            assert json.loads(stopped.data)["after"]["count"] > 0
            assert any(note.startswith("stopped") for note in stopped.body["result"]["notes"])

            begun(client, kind="allocations", seconds=600)
            client.send(CANCEL, b"")
            assert client.answer().body["reason"] == "CANCELLED"
            assert client.ask("info").kind == RESULT

            refused = client.ask("profile", kind="sampling")
            assert (refused.kind, refused.body["reason"]) == (ERROR, "UNSUPPORTED")
            begun(client, kind="allocations", seconds=600)
        with connected(path) as client:
            processes.wait_until(lambda: client.ask("heap", gc=False).kind == RESULT)
            assert target.poll() is None


FORKING = """
import os, sys, time
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
child = os.fork()
if child == 0:
    import _tracemalloc
    print("child traced:", _tracemalloc.is_tracing(), flush=True)
    time.sleep(60)
os.waitpid(child, 0)
"""


def test_a_child_of_a_recorded_process_is_not_recorded(hooked, hook_dir, tmp_path):
    """A worker that is forked meanwhile would else be traced for ever; it has its own hook."""
    app, now = tmp_path / "app.py", tmp_path / "now"
    app.write_text(FORKING)
    with hooked(sys.executable, app, now) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            begun(client, kind="allocations", seconds=600)
            now.touch()
            wait_for_sockets(hook_dir, 2)
            log = hook_dir / "log"
            processes.wait_until(lambda: "child traced:" in log.read_text())
            assert "child traced: False" in log.read_text()
            client.send(STOP, b"")
            assert client.answer().kind == RESULT


LEAVING = """
import os, sys, threading, time
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("kind", ["allocations", "native"])
def test_an_app_ends_as_it_would_have(hooked, hook_dir, tmp_path, kind):
    """The recording of an app that ends does not hold it, and leaves no file."""
    pytest.importorskip("memray")
    now = tmp_path / "now"
    with hooked(sys.executable, "-c", LEAVING, now) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            begun(client, kind=kind, seconds=600)
            now.touch()
            assert target.wait(20) == 0
    assert (hook_dir / "log").read_text() == "ready\n"
    assert os.listdir(hook_dir) == ["log"]


def test_native(hooked, hook_dir, tmp_path):
    """Memray's file comes over, sees every thread, ends at its size, and is removed."""
    memray = pytest.importorskip("memray")
    app = tmp_path / "app.py"
    app.write_text(APP.replace('"row %d" % number', "bytearray(5000)"))
    with hooked(sys.executable, app) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            answer = client.ask("profile", kind="native", seconds=0.5)
            assert answer.kind == RESULT, answer.body
            assert sorted(Path(hook_dir).iterdir()) == [hook_dir / "log", path]
            short = client.ask(
                "profile", kind="native", seconds=600, max_bytes=1 << 16, python_allocator=True
            )
            assert any("the limit is 65536" in note for note in short.body["result"]["notes"])
        assert target.poll() is None
    file = tmp_path / "out.bin"
    file.write_bytes(answer.data)
    with memray.FileReader(file) as reader:
        records = reader.get_high_watermark_allocation_records(merge_threads=True)
        [largest] = sorted(records, key=lambda record: -record.size)[:1]
    assert ("make", str(app), MAKE_LINE + 1) in largest.stack_trace()


PLAIN = """
import sys, time
while True:
    time.sleep(0.1)
    print("threading" in sys.modules, end=" ", flush=True)
"""


def test_threading_is_never_loaded_for_the_app(python, hooked, hook_dir):
    """Loaded first by a thread of ours it would take that for the main thread, for ever."""
    with hooked(python, "-c", PLAIN) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            looks = json.loads(client.ask("profile", kind="types").data)
            assert client.ask("profile", kind="allocations", seconds=0.05).kind == RESULT
            native = client.ask("profile", kind="native", seconds=0.05)
        log = hook_dir / "log"
        size = len(log.read_text())
        processes.wait_until(lambda: len(log.read_text()) > size)
    assert looks["method"] in ("gc", "pympler")
    if native.kind == ERROR:
        assert looks["method"] == "gc"
        assert "True" not in log.read_text()
