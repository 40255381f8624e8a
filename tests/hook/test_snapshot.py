"""Snapshots that go wrong: cancelled, abandoned, killed; the app goes on, and no child stays."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.hook import dumps
from tests.hook.client import (
    CANCEL,
    DATA,
    ERROR,
    RESULT,
    Client,
    Heap,
    connected,
    wait_for_sockets,
)
from tests.hook.walkers import WALKERS
from tests.support.processes import wait_until

# Big enough that its walk is still under way when the test acts.
BIG = "import time; x = [[number] for number in range(120000)]; print('ready', flush=True); {}"
WAIT = BIG.format("time.sleep(60)")


@pytest.fixture(params=WALKERS)
def walker(request):
    """Both walkers: what goes wrong must end alike."""
    return request.param


@pytest.fixture
def big(hooked, hook_dir, some_python):
    """A process with a large heap, its hook's socket, and a connection to it."""
    with hooked(some_python, "-c", WAIT) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        wait_until(lambda: "ready" in (hook_dir / "log").read_text())
        with connected(path) as client:
            yield target, path, client
        assert target.poll() is None, "the app must live on"
        wait_until(lambda: child_of(target.pid) is None, what="the child to be gone and waited for")


def child_of(pid: int) -> int | None:
    """The pid of a process's child, zombie or not."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not words:  # children of the hook's thread are listed under that thread
        for task in Path(f"/proc/{pid}/task").iterdir():
            words += (task / "children").read_text().split()
    return int(words[0]) if words else None


def begin(client: Client, target, **options: str) -> int:
    """Starts a snapshot; the pid of its child once it walks."""
    client.request("heap", gc=False, **options)
    wait_until(lambda: child_of(target.pid))
    found = child_of(target.pid)
    assert found
    return found


def test_cancel_ends_the_child(big):
    """CANCEL is answered by CANCELLED, and the connection is good for the next request."""
    target, _, client = big
    begin(client, target)
    client.send(CANCEL, b"")
    answer = client.answer()
    assert (answer.kind, answer.body["reason"]) == (ERROR, "CANCELLED")
    assert client.ask("info").kind == RESULT


def test_a_client_that_is_gone_ends_the_child(big):
    """A connection that ends, as when its agent is killed, cancels what runs on it."""
    target, path, client = big
    begin(client, target)
    client.close()
    wait_until(lambda: child_of(target.pid) is None)
    with connected(path) as other:
        assert other.ask("gc").kind == RESULT


def test_a_client_that_stops_reading_can_still_go(big):
    """A child that waits for a reader ends with it."""
    target, _, client = big
    begin(client, target)
    while client.frame()[0] != DATA:
        pass
    client.close()
    wait_until(lambda: child_of(target.pid) is None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_reported(big, number):
    """A child killed from outside (as when memory runs out) gives CHILD_FAILED with its signal."""
    target, _, client = big
    os.kill(begin(client, target), number)
    answer = client.answer()
    assert (answer.kind, answer.body["reason"]) == (ERROR, "CHILD_FAILED")
    assert f"signal {int(number)}" in answer.body["message"]
    assert client.ask("heap", gc=False).kind == RESULT


def test_a_dump_waits_for_nobody(big, hook_dir):
    """A dump is finished while its reader sleeps; it has no name, and comes whole with RESULT."""
    target, _, client = big
    before = open_descriptors(target.pid)
    client.request("heap", gc=False, format="dump")
    time.sleep(0.5)  # nobody reads meanwhile
    wait_until(lambda: child_of(target.pid) is None)
    assert {path.suffix for path in hook_dir.iterdir()} == {".sock", ""}  # the socket and the log
    answer = client.answer()
    with open(answer.descriptor, "rb") as file:
        file.seek(0)
        dump = dumps.read(file.read())
    result = answer.body["result"]
    assert (result["format"], result["objects"]) == ("dump", dump.end["objects"])
    assert result["size_bytes"] <= 16 * result["objects"]
    assert 0 < result["heap_bytes"] <= result["rss_bytes"]
    assert open_descriptors(target.pid) == before


def test_a_dump_has_a_limit(big):
    """Past `max_bytes` the child ends, says both numbers, and nothing is handed over."""
    _, _, client = big
    answer = client.ask_dump(gc=False, max_bytes=100_000)
    assert (answer.body["reason"], answer.descriptor) == ("CHILD_FAILED", -1)
    assert "100000 bytes" in answer.body["message"]
    assert client.ask_dump(gc=False, max_bytes=100_000_000).kind == RESULT


def open_descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_one_artifact_at_a_time(big):
    """A second snapshot is refused with BUSY; other commands are answered meanwhile."""
    target, path, client = big
    begin(client, target)
    with connected(path) as other:
        assert other.ask("heap").body["reason"] == "BUSY"
        assert other.ask("stats").kind == RESULT
    assert client.answer().kind == RESULT


def test_the_child_has_let_go_of_everything(big, walker):
    """The child has no descriptor but its own two, is first to be killed, and polite."""
    target, _, client = big
    child = begin(client, target)
    folder = Path(f"/proc/{child}")
    wait_until(lambda: (folder / "oom_score_adj").read_text() == "1000\n")

    def kinds() -> list[str]:
        with contextlib.suppress(OSError):  # one has just been closed
            links = [os.readlink(entry) for entry in (folder / "fd").iterdir()]
            return sorted(link.split(":")[0] for link in links)
        return []

    # 0, 1, 2, the connection, the status; the file of the score may be open a moment longer.
    wait_until(lambda: kinds() == ["/dev/null"] * 3 + ["pipe", "socket"], what="5 descriptors")
    # The C walker's is brief, and the longer it lives, the more pages the app copies.
    wait_until(lambda: os.getpriority(os.PRIO_PROCESS, child) == (10 if walker == "py" else 0))
    client.send(CANCEL, b"")


def test_a_wrong_option_is_refused(big):
    """`gc` is a boolean; the request is answered, nothing is forked."""
    _, _, client = big
    assert client.ask("heap", gc="yes").body["reason"] == "BAD_REQUEST"


def test_costs_are_measured(big, walker):
    """Pause, CPU and extra memory are of the size of things; a collection is told apart."""
    _, _, client = big
    answer = client.ask("heap")
    result = answer.body["result"]
    assert result["objects"] > 240_000
    assert result["cpu_millis"] > 0 < result["pause_millis"]
    assert "collected first" in result["notes"][1]
    assert len(client.ask("heap", gc=False).body["result"]["notes"]) == 1


def test_the_c_walker_copies_no_heap(big, walker):
    """The twin's child copies every page with an object on it; the C walker's makes its tables.

    The best of three counts: the kernel may move the app's pages meanwhile, and counts those, too.
    """
    _, _, client = big
    answers = [client.ask("heap", gc=False)]
    tracked = client.ask("stats", types=1).body["result"]["gc_objects"]
    answers += [client.ask("heap", gc=False) for _ in range(2)]
    if walker == "c":  # and leaves nothing behind, not even for the collector to find
        assert client.ask("stats", types=1).body["result"]["gc_objects"] <= tracked + 10
    extra = min(answer.body["result"]["extra_memory_bytes"] for answer in answers)
    heap_bytes = sum(Heap.parse(answers[0].data).sizes)
    assert (extra > heap_bytes / 2) is (walker == "py"), (extra, heap_bytes)


def test_garbage_on_the_socket_is_dropped(big):
    """A peer that does not speak the wire loses its connection; others do not notice."""
    _, path, client = big
    with connected(path) as other:
        other.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((EOFError, ConnectionError)):
            other.frame()
    with connected(path) as other:
        other.send(2, b"not json")
        with pytest.raises((EOFError, ConnectionError)):
            other.frame()
    assert client.ask("info").kind == RESULT


def test_connections_are_limited(big):
    """Beyond the limit a peer is hung up on, at once."""
    _, path, client = big
    kept = [Client(path) for _ in range(7)]
    with pytest.raises((EOFError, ConnectionError)):
        Client(path)
    for other in kept:
        other.close()
    assert client.ask("info").kind == RESULT


def test_requests_sent_ahead_are_answered_in_order(big):
    """Frames in one burst are all answered."""
    _, _, client = big
    for _ in range(5):
        client.request("gc")
    assert [client.answer().kind for _ in range(5)] == [RESULT] * 5
