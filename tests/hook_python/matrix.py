"""Where the Python hook must work: a table of programs, and one run that holds for all of them.

    python -m tests.hook_python.matrix [--python 3.11 …] [--case NAME …] [--install]

runs every case by hand and prints the table of docs/howto/python-hook.md; the suite runs a few
(test_matrix.py). Each case: every process of the program answers, a heap is captured through a
real agent and has every planted object, the app answers afterwards, ends as fast as it does
without the hook, and leaves no socket behind.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import zstandard

from memwatch_agent import procfs
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc
from tests.hook import walkers
from tests.hook.client import Heap, connected, sockets
from tests.support import processes, runtimes
from tests.support.stack import program_env

APPS = runtimes.ROOT / "tests/apps/hook"
SCRIPT = str(APPS / "matrix_script.py")
ORDERS = 321


@dataclass(frozen=True)
class Case:
    """One program.

    Attributes:
        words: its command after the interpreter; `{bin}`, `{port}` and `{apps}` are filled in.
        hooks: processes that must answer, at least.
        needs: modules that the interpreter must have.
        serves: whether it answers HTTP with the pid of the worker.
        env: variables on top.
        metrics: whether its middleware counts requests.
        graceful: whether SIGTERM ends it with status 0.
        oldest: the first minor version that has what it needs.
    """

    name: str
    words: str
    hooks: int = 1
    needs: tuple[str, ...] = ()
    serves: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    metrics: bool = False
    graceful: bool = False
    oldest: int = 9


def script(name: str, kind: str, hooks: int = 1, **more: Any) -> Case:
    return Case(name, f"{SCRIPT} {kind} {{port}}", hooks, **more)


def gunicorn(name: str, options: str, app: str = "matrix_app:application", **more: Any) -> Case:
    words = f"-m gunicorn --bind 127.0.0.1:{{port}} --chdir {{apps}} {options} {app}"
    needs = ("gunicorn", *more.pop("needs", ()))
    return Case(name, words, more.pop("hooks", 3), needs, True, graceful=True, **more)


def uwsgi(name: str, options: str) -> Case:
    words = (
        "{bin}/uwsgi --http-socket 127.0.0.1:{port} --chdir {apps} --module matrix_app "
        "--need-app --die-on-term --enable-threads " + options
    )
    return Case(name, words, 2, ("uwsgidecorators",), True, graceful=True)


CASES = (
    script("plain script", "plain"),
    script("script that ends by itself", "ends"),
    script("200 threads", "threads"),
    script("5,000 frames deep", "recursion"),
    Case("`-X tracemalloc=5`", f"-X tracemalloc=5 {SCRIPT} plain"),
    script("`PYTHONMALLOC=malloc`", "plain", env={"PYTHONMALLOC": "malloc"}),
    script("`PYTHONMALLOC=debug`", "plain", env={"PYTHONMALLOC": "debug"}),
    script("`PYTHONMALLOC=mimalloc`", "plain", env={"PYTHONMALLOC": "mimalloc"}, oldest=13),
    script("numpy", "numpy", needs=("numpy",)),
    script("grpc server", "grpc", needs=("grpc",)),
    script("asyncio", "asyncio", serves=True),
    script("uvloop", "uvloop", serves=True, needs=("uvloop",)),
    script("multiprocessing fork", "fork", 3),
    script("multiprocessing spawn", "spawn", 3),
    script("multiprocessing forkserver", "forkserver", 4),
    gunicorn("gunicorn sync", "--workers 2"),
    gunicorn("gunicorn --preload", "--workers 2 --preload"),
    gunicorn("gunicorn gthread", "--workers 2 --worker-class gthread --threads 4"),
    gunicorn("gunicorn gevent", "--workers 2 --worker-class gevent", needs=("gevent",)),
    gunicorn(
        "gunicorn, uvicorn workers",
        "--workers 2 --worker-class uvicorn.workers.UvicornWorker",
        "matrix_app:plain_asgi",
        needs=("uvicorn",),
    ),
    Case(
        "uvicorn --workers 2",
        "-m uvicorn --port {port} --app-dir {apps} --workers 2 matrix_app:plain_asgi",
        3,
        ("uvicorn",),
        True,
        graceful=True,
    ),
    Case(
        "celery prefork -c 2",
        "-m celery --workdir {apps} -A matrix_celery worker -P prefork -c 2 --without-gossip",
        3,
        ("celery",),
        graceful=True,
    ),
    uwsgi("uWSGI", "--master --processes 2"),
    uwsgi("uWSGI --lazy-apps", "--master --processes 2 --lazy-apps"),
    gunicorn(
        "Django",
        "--workers 2",
        "matrix_app:django_app",
        needs=("django",),
        metrics=True,
    ),
    gunicorn("Flask", "--workers 2", "matrix_app:flask_app", needs=("flask",), metrics=True),
    Case(
        "FastAPI",
        "-m uvicorn --port {port} --app-dir {apps} matrix_app:fastapi_app",
        1,
        ("fastapi", "uvicorn"),
        True,
        metrics=True,
        graceful=True,
    ),
)


class Agent:
    """A real agent that finds what the cases start in one folder."""

    def __init__(self, stub: Any, folder: Path) -> None:
        self.folder = folder
        self._stub = stub

    def target(self, pid: int, *, hooked: bool = True) -> Any:
        """The target of a pid, once it is there with a hook; or without one."""
        found: list[Any] = []

        def there() -> bool:
            request = agents_pb2.AgentServiceListTargetsRequest()
            targets = self._stub.ListTargets(request, timeout=20).targets
            found[:] = [one for one in targets if one.pid == pid and one.hooked == hooked]
            return bool(found)

        processes.wait_until(there, 30, f"the agent to see {pid}, hooked: {hooked}")
        return found[0]

    def heap(self, pid: int, *, hooked: bool = True) -> Heap:
        """A heap of a process, captured into the agent's spool and streamed from there."""
        request = agents_pb2.CaptureRequest(
            target_id=self.target(pid, hooked=hooked).id,
            request_id=f"m-{pid}-{time.monotonic_ns()}",
            force=True,
        )
        events = list(self._stub.Capture(request, timeout=120))
        snapshot = events[-1].snapshot
        chunks = self._stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id), timeout=120)
        stored = b"".join(chunk.data for chunk in chunks)
        return Heap.parse(zstandard.ZstdDecompressor().decompressobj().decompress(stored))

    def scraped(self) -> str:
        """Its /metrics."""
        client = http.client.HTTPConnection("agent")
        client.sock = _connected(self.folder / "m.sock")
        client.request("GET", "/metrics")
        return client.getresponse().read().decode()


def _connected(path: Path) -> Any:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(20)
    one.connect(str(path))
    return one


@contextlib.contextmanager
def agent(*options: str) -> Iterator[Agent]:
    """An agent for the length of the block; `options` are added to its flags."""
    with tempfile.TemporaryDirectory(prefix="mwx") as name:
        folder = Path(name)
        address = f"unix:{folder}/a.sock"
        command = [sys.executable, "-m", "memwatch_agent", "--listen", address]
        command += ["--state-dir", str(folder / "state"), "--hook-dir", str(folder)]
        command += ["--insecure-no-auth", "--metrics-listen", f"unix:{folder}/m.sock", *options]
        log = folder / "agent.log"
        with (
            processes.running(command, env=program_env(), log=log),
            grpc.insecure_channel(address) as channel,
        ):
            processes.wait_until(lambda: '"serving"' in log.read_text(), 30, "the agent to serve")
            yield Agent(agents_pb2_grpc.AgentServiceStub(channel), folder)


def missing(case: Case, python: Path) -> str:
    """Why a case cannot be run under an interpreter; empty where it can."""
    code = f"import sys, importlib.util as u; m = {case.needs!r}; print(sys.version_info[1], "
    code += "*[name for name in m if u.find_spec(name) is None])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    minor, *absent = done.stdout.split()
    if int(minor) < case.oldest:
        return f"needs CPython 3.{case.oldest}"
    return f"no {', '.join(absent)}" if absent else ""


def run(case: Case, python: Path, watcher: Agent, walker: str = "c") -> dict[str, Any]:
    """Runs one case; what was seen, or AssertionError."""
    port = processes.free_port()
    words = case.words.format(bin=python.parent, port=port, apps=APPS).split()
    command = words if words[0].endswith("/uwsgi") else [str(python), *words]
    hook = walkers.environment(walker)
    name = f"matrix-{port}"
    with tempfile.TemporaryDirectory(prefix="mwc") as folder:
        env = {
            **hook,
            "PYTHONPATH": f"{hook['PYTHONPATH']}:{APPS}",
            "MEMWATCH_HOOK_DIR": str(watcher.folder),
            "MEMWATCH_SERVICE_NAME": name,
            "MATRIX_FOLDER": folder,
            "VIRTUAL_ENV": str(python.parent.parent),
            **case.env,
        }
        if words[0].endswith("/uwsgi"):
            command += ["--home", str(python.parent.parent)]
        log = Path(folder) / "log"
        with processes.running(command, env=env, log=log) as process:
            try:
                return _lived(case, process, watcher, port, name, Path(folder))
            except BaseException:
                sys.stderr.write(f"--- {case.name} ({python})\n{log.read_text()[-2000:]}\n")
                raise


def _lived(
    case: Case,
    process: subprocess.Popen[bytes],
    watcher: Agent,
    port: int,
    name: str,
    folder: Path,
) -> dict[str, Any]:
    """One program from its start to its end."""
    session = process.pid
    processes.wait_until(lambda: len(_hooks(watcher.folder, session)) >= case.hooks, 40, "hooks")
    if case.serves:
        processes.wait_until(lambda: _pid_of(port) is not None, 30, "an answer")
    hooks = _hooks(watcher.folder, session)
    for path in hooks.values():
        with connected(path) as client:
            client.ask("info")
    worker = _pid_of(port) if case.serves else max(hooks)
    assert worker in hooks, f"worker {worker} has no hook, but {sorted(hooks)}"
    graph = watcher.heap(worker)
    if case.name != "multiprocessing forkserver":  # its youngest process holds no app
        assert graph.count("matrix_app.Order") in (0, ORDERS)
    if case.serves:
        assert graph.count("matrix_app.Order") == ORDERS
        for _ in range(8):
            assert _pid_of(port) in _hooks(watcher.folder, session)
    if case.metrics:
        processes.wait_until(lambda: _counts(watcher.scraped(), name), 10, "counted requests")
    (folder / "end").touch()
    ended = _ended(case, process)
    _nothing_left(watcher.folder, session, set(hooks))
    return {"hooks": len(hooks), "objects": len(graph.ids), "ended_seconds": round(ended, 1)}


def _counts(scraped: str, service: str) -> bool:
    """Whether a scrape has the requests of a service."""
    rows = (line for line in scraped.splitlines() if line.startswith("memwatch_app_requests_total"))
    return any(f'service="{service}"' in row for row in rows)


def _hooks(folder: Path, session: int) -> dict[int, Path]:
    """The sockets of a session's processes, by pid; a process has one."""
    found: dict[int, Path] = {}
    for path in sockets(folder):
        pid = int(path.name.split("-")[1])
        if _session(pid) == session:
            assert pid not in found, f"{pid} has two sockets"
            found[pid] = path
    return found


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _pid_of(port: int) -> int | None:
    """The pid that an answer tells; None where none comes."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return int(answer.read())
    except (OSError, http.client.HTTPException):
        return None


def _ended(case: Case, process: subprocess.Popen[bytes]) -> float:
    """Ends the program as a supervisor does; the seconds that it took."""
    began = time.monotonic()
    if "ends by itself" in case.name:
        assert process.wait(20) == 0
        return time.monotonic() - began
    os.kill(process.pid, signal.SIGTERM)
    status = process.wait(30)
    if case.graceful:
        assert status in (0, -signal.SIGTERM), status
    return time.monotonic() - began


def _nothing_left(folder: Path, session: int, pids: set[int]) -> None:
    """No socket of the program stays: removed by it, or by the next hook that starts."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)  # children of a script that was told to end
    processes.wait_until(lambda: not any(_alive(pid) for pid in pids), 10, "its end")
    env = {**walkers.environment("py"), "MEMWATCH_HOOK_DIR": str(folder)}
    with processes.running([sys.executable, "-c", "import time; time.sleep(60)"], env=env):

        def gone() -> bool:
            return not any(int(path.name.split("-")[1]) in pids for path in sockets(folder))

        processes.wait_until(gone, 15, "its sockets to be removed")


def _alive(pid: int) -> bool:
    stat = procfs.stat(f"/proc/{pid}")
    return stat is not None and not stat.ended


def main(arguments: Sequence[str]) -> int:
    """Runs the matrix; the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--install", action="store_true")
    options = parser.parse_args(arguments)
    if options.install:
        for minor in options.python or runtimes.PYTHON_MINORS:
            runtimes.install_web(minor)
    minors = options.python or runtimes.PYTHON_MINORS
    cases = [one for one in CASES if not options.case or one.name in options.case]
    table: dict[str, dict[str, str]] = {one.name: {} for one in cases}
    failures = 0
    with agent() as watcher:
        for minor in minors:
            python = runtimes.python_with_web(minor)
            for case in cases:
                told = _tried(case, python, watcher)
                failures += told.startswith("FAILED")
                table[case.name][minor] = told
                print(json.dumps([minor, case.name, told]), flush=True)
    print("\n| program | " + " | ".join(minors) + " |\n|" + "---|" * (len(minors) + 1))
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(row[minor] for minor in minors) + " |")
    return failures


def _tried(case: Case, python: Path | None, watcher: Agent) -> str:
    if python is None:
        return "not installed"
    if why := missing(case, python):
        return f"– {why}"
    try:
        seen = run(case, python, watcher)
    except Exception as fault:  # noqa: BLE001 the table tells it, the other cases go on
        traceback.print_exc()
        return f"FAILED {type(fault).__name__}: {str(fault)[:80]}"
    return f"{seen['hooks']} hooks"


if __name__ == "__main__":
    raise SystemExit(bool(main(sys.argv[1:])))
