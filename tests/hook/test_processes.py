"""Programs that fork, spawn and thread: each process answers for itself, nothing is left behind."""

import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.hook.client import Heap, connected, sockets, wait_for_sockets
from tests.hook.conftest import hook_environment
from tests.hook.walkers import WALKERS
from tests.support import processes, runtimes

APPS = Path(__file__).parents[1] / "apps" / "hook"


def pids_that_answer(folder):
    """The pids of the hooks in a directory, each asked."""
    found = []
    for path in sockets(folder):
        with connected(path) as client:
            found.append(client.ask("info").body["result"]["pid"])
    return found


THREADS = """
import threading, time
for number in range(20):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""
ASYNCIO = """
import asyncio
class Session: pass
async def handle(number):
    kept_by_task = Session()
    await asyncio.sleep(60)
async def main():
    tasks = [asyncio.ensure_future(handle(number)) for number in range(17)]
    await asyncio.sleep(0)
    print('ready', flush=True)
    await asyncio.gather(*tasks)
asyncio.run(main())
"""
MULTIPROCESSING = """
import multiprocessing, time, sys
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=time.sleep, args=(60,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
SUBPROCESS = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""
SHORT_CHILDREN = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
print("over", flush=True)
time.sleep(60)
"""
FORK_AND_EXEC = """
import os, sys, time
if os.fork() == 0:
    os.execv("/bin/sleep", ["sleep", "60"])
time.sleep(60)
"""


@pytest.mark.parametrize("walker", WALKERS)
def test_threads(python, hooked, hook_dir):
    """A process with 20 threads is captured with all of them."""
    with hooked(python, "-c", THREADS) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        processes.wait_until(lambda: "ready" in (hook_dir / "log").read_text())
        with connected(path) as client:
            heap = Heap.parse(client.ask("heap").data)
        assert len(heap.edges[heap.follow("(threads)")]) == 21
        assert target.poll() is None


@pytest.mark.parametrize("walker", WALKERS)
def test_asyncio(python, hooked, hook_dir):
    """What suspended tasks hold is in the snapshot, by the local's name."""
    with hooked(python, "-c", ASYNCIO) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        processes.wait_until(lambda: "ready" in (hook_dir / "log").read_text())
        with connected(path) as client:
            heap = Heap.parse(client.ask("heap").data)
    assert heap.count("__main__.Session") == 17
    sessions = {number for number, name in enumerate(heap.names) if name == "__main__.Session"}
    holders = [edge for edges in heap.edges for edge in edges if edge[2] in sessions]
    assert [edge[1] for edge in holders].count("kept_by_task") == 17


@pytest.mark.parametrize(("method", "count"), [("fork", 3), ("spawn", 3), ("forkserver", 4)])
def test_multiprocessing(some_python, hooked, hook_dir, tmp_path, method, count):
    """Workers of every start method have hooks of their own, beside the parent's."""
    app = tmp_path / "app.py"
    app.write_text(MULTIPROCESSING)
    with hooked(some_python, app, method) as target:
        wait_for_sockets(hook_dir, count)
        pids = pids_that_answer(hook_dir)
        assert target.pid in pids
        assert len(set(pids)) == len(pids) >= count


def test_subprocesses_inherit_the_hook(some_python, hooked, hook_dir):
    """A Python started by a hooked Python is hooked."""
    with hooked(some_python, "-c", SUBPROCESS) as target:
        wait_for_sockets(hook_dir, 2)
        assert target.pid in pids_that_answer(hook_dir)


def test_short_children_do_not_litter(some_python, hooked, hook_dir):
    """Children that live for a blink never get a socket."""
    with hooked(some_python, "-c", SHORT_CHILDREN) as target:
        log = hook_dir / "log"
        processes.wait_until(lambda: "over" in log.read_text())
        own = wait_for_sockets(hook_dir, pid=target.pid)
        assert sockets(hook_dir) == own


def test_a_child_that_becomes_another_program_has_no_socket(some_python, hooked, hook_dir):
    """Fork and exec: the parent's socket is the only one, and it is not held by the child."""
    with hooked(some_python, "-c", FORK_AND_EXEC) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        processes.wait_until(lambda: b"sleep\0" in children_of(target.pid))
        with connected(path) as client:
            assert client.ask("gc").body["result"]["collected"] >= 0
        assert sockets(hook_dir) == [path]


def children_of(pid):
    """The command lines of a process's children."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return b" ".join(Path(f"/proc/{word}/cmdline").read_bytes() for word in words)


def served(minor):
    """An interpreter that has gunicorn and gevent."""
    found = runtimes.python_with_servers(minor)
    if found is None:
        pytest.skip(f"no servers for Python {minor}: run python -m tests.support.runtimes")
    return found


GUNICORN = {
    "sync": ("--workers", "2"),
    "preload": ("--workers", "2", "--preload"),
    "gthread": ("--workers", "1", "--worker-class", "gthread", "--threads", "4"),
    "gevent": ("--workers", "1", "--worker-class", "gevent"),
}
# Each kind on the oldest and the newest, the usual ones in between, too.
CASES = [(kind, minor) for kind in GUNICORN for minor in ("3.9", "3.13")]
CASES += [("sync", "3.11"), ("preload", "3.10"), ("preload", "3.12")]
# The two walkers take turns: each sees each kind.
SERVED = [(*case, WALKERS[number % 2]) for number, case in enumerate(CASES)]


@pytest.mark.parametrize(("kind", "minor", "walker"), SERVED)
def test_gunicorn(hooked, hook_dir, kind, minor):
    """Master and workers answer and are captured while they serve; the master sees no stranger."""
    arguments = GUNICORN[kind]
    workers = int(arguments[1])
    port = processes.free_port()
    command = (served(minor), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--chdir", APPS)
    with hooked(*command, *arguments, "gunicorn_app:app") as master:
        wait_for_sockets(hook_dir, 1 + workers)
        processes.wait_until(lambda: worker_of(port) in pids_that_answer(hook_dir))
        worker = worker_of(port)
        for pid in (worker, master.pid):
            [path] = sockets(hook_dir, pid)
            with connected(path) as client:
                answer = client.ask("heap")
            assert "result" in answer.body, answer.body
            if pid == worker:
                assert Heap.parse(answer.data).count("gunicorn_app.Order") == 321
        assert worker_of(port) in pids_that_answer(hook_dir)
        log = (hook_dir / "log").read_text()
        assert "exited with code" not in log, log
        assert "Traceback" not in log, log
        assert log.count("Booting worker") == workers, log


def worker_of(port):
    """The pid of a worker that serves a request; None where nobody listens yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return int(response.read())
    except OSError:
        return None


def test_gunicorn_stops_as_ever(hooked, hook_dir):
    """SIGTERM ends master and workers with status 0, and no socket stays."""
    port = processes.free_port()
    command = (served("3.11"), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--chdir", APPS)
    with hooked(*command, "gunicorn_app:app") as master:
        wait_for_sockets(hook_dir, 2)
        processes.wait_until(lambda: worker_of(port))
        os.kill(master.pid, signal.SIGTERM)
        assert master.wait(20) == 0
        assert sockets(hook_dir) == []


@pytest.mark.parametrize("walker", WALKERS)
def test_an_app_that_waits_for_any_child_is_not_disturbed(some_python, hooked, hook_dir):
    """A SIGCHLD handler that reaps everything takes our child; the snapshot still succeeds."""
    code = """
import os, signal, time
def reap(number, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
while True:
    time.sleep(0.001)
"""
    with hooked(some_python, "-c", code) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            for _ in range(3):
                assert "result" in client.ask("heap").body
        assert target.poll() is None
        assert children_of(target.pid) == b""


START = "import memwatch_hook; memwatch_hook.start();"
PATCH = "from gevent import monkey; monkey.patch_all();"
TICKING = """
import time, gevent
def tick():
    while True:
        time.sleep(0.05)
        print("tick", flush=True)
gevent.spawn(tick)
time.sleep(60)
"""


@pytest.mark.parametrize("walker", WALKERS)
@pytest.mark.parametrize("start", [START + PATCH, PATCH + START], ids=["before", "after"])
def test_gevent_patched_around_the_hook(hooked, hook_dir, start, walker):
    """Started before or after gevent has patched, the hook answers and greenlets go on."""

    def ticks():
        return (hook_dir / "log").read_text().count("tick")

    # Without the bootstrap folder, which would start the hook before any of the code.
    path = hook_environment(walker)["PYTHONPATH"].partition(":")[2]
    with hooked(served("3.12"), "-c", start + TICKING, PYTHONPATH=path) as target:
        [socket] = wait_for_sockets(hook_dir, pid=target.pid)
        processes.wait_until(ticks)
        with connected(socket) as client:
            heap = Heap.parse(client.ask("heap").data)
            assert [name for name in heap.names if name.endswith(".Greenlet")]
            before = ticks()
            processes.wait_until(lambda: ticks() > before + 2)
        assert "Traceback" not in (hook_dir / "log").read_text()


SUBINTERPRETER = """
import sys, time
try:
    import _interpreters as subs
except ImportError:
    import _xxsubinterpreters as subs
time.sleep(0.5)
code = "import memwatch_hook; memwatch_hook.start(); import time; time.sleep(0.5)"
subs.run_string(subs.create(), code)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_second_interpreter_in_a_process_leaves_the_first_its_socket(
    some_python, hooked, hook_dir
):
    """As uWSGI and mod_wsgi have them: one socket for the process, and the first hook answers."""
    with hooked(some_python, "-c", SUBINTERPRETER) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        inode = path.stat().st_ino
        processes.wait_until(lambda: "ready" in (hook_dir / "log").read_text())
        assert path.stat().st_ino == inode
        assert sockets(hook_dir) == [path]
        with connected(path) as client:
            assert client.ask("info").body["result"]["pid"] == target.pid
        assert "Traceback" not in (hook_dir / "log").read_text()
