"""Sessions on real services, through every part: what grew is counted exactly."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import get, memlab_counts
from tests.support import runtimes
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import APPS, HOOK_PATH, Stack, node_service, unique

pytestmark = pytest.mark.e2e

#: Objects planted before the first snapshot, and added while the session waits.
PLANTED, ADDED = 1_500, 700


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        get(port, "/stats")
        return True
    return False


def capture_twice(stack: Stack, target: str, port: int) -> tuple[Any, Any]:
    """A session over a target that leaks ADDED objects meanwhile; the session and its report."""
    get(port, f"/leak?n={PLANTED}")
    session_id = stack.ctl("capture", target, "--timeframe", "3s", "--detach").stdout.strip()
    stack.wait_for_state(session_id, "WAITING")
    get(port, f"/leak?n={ADDED}")
    session = stack.wait_for_state(session_id, "SUCCEEDED", "FAILED")
    assert session["state"] == "SESSION_STATE_SUCCEEDED", session.get("error")
    return session, stack.json("reports", "get", session_id)


def check_report(report: Any, class_name: str) -> None:
    row = next(row for row in report["classes"] if row["class_name"] == class_name)

    assert int(row["count_before"]) == PLANTED
    assert int(row["count_after"]) == PLANTED + ADDED
    assert int(row["new_count"]) == ADDED
    assert int(row.get("gone_count", 0)) == 0


def check_files(stack: Stack, session: Any, class_name: str) -> None:
    """Both snapshots, downloaded, open in memlab with the planted objects."""
    snapshots = session["targets"][0]["snapshots"]
    assert [s["phase"] for s in snapshots] == ["before", "after"]
    for snapshot, expected in zip(snapshots, (PLANTED, PLANTED + ADDED), strict=True):
        file = stack.folder / snapshot["file_name"]
        stack.ctl("snapshots", "download", snapshot["id"], "--output", str(file))

        assert memlab_counts(file, class_name) == {class_name: expected}


@pytest.mark.parametrize("way", ["attach", "hook"])
@pytest.mark.parametrize("major", runtimes.NODE_MAJORS)
def test_node(shared_stack: Stack, major: int, way: str) -> None:
    """A Node.js service is captured both ways on each major, every planted object counted."""
    stack, service = shared_stack, unique("web")
    node = runtimes.node(major)
    if node is None:
        pytest.skip(f"Node {major} is not installed (npm was not there when `make test` looked)")
    port, hooks = free_port(), stack.hooks if way == "hook" else None
    with node_service(node, port, service=service, hooks=hooks) as process:
        wait_until(lambda: answers(port))
        session, report = capture_twice(stack, stack.wait_for_target(service), port)

        assert {s["way"] for s in session["targets"][0]["snapshots"]} == {
            f"CAPTURE_WAY_{way.upper()}"
        }
        check_report(report, "LeakedReport")
        check_files(stack, session, "LeakedReport")
        assert process.poll() is None
        assert not inspector_listens(process.pid)
    assert not [p for p in stack.leftovers() if ".part" in p.name or p.is_relative_to(stack.state)]


def inspector_listens(pid: int) -> bool:
    """Whether a process still listens on Node's inspector port."""
    tcp = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    listening = {line.split()[9] for line in tcp if line.split()[3] == "0A" and ":240D" in line}
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(fd).removeprefix("socket:[").rstrip("]"))
    return bool(listening & inodes)


@contextlib.contextmanager
def python_app(kind: str, python: Path, stack: Stack, port: int, service: str) -> Iterator[None]:
    """One of the ways Python services are run, with the hook."""
    commands: dict[str, list[str | Path]] = {
        "plain": [python, APPS / "leaky_python.py", str(port)],
        "asyncio": [python, APPS / "leaky_asyncio.py", str(port)],
        "gunicorn": [python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "leaky_wsgi:app"],
    }
    commands["preload"] = [*commands["gunicorn"], "--preload"]
    env = {
        "MEMWATCH_SERVICE_NAME": service,
        "MEMWATCH_HOOK_DIR": str(stack.hooks),
        "PYTHONPATH": f"{HOOK_PATH}:{APPS}",
    }
    with running(commands[kind], env=env):
        wait_until(lambda: answers(port), 60)
        yield


@pytest.mark.parametrize("kind", ["plain", "asyncio", "gunicorn", "preload"])
@pytest.mark.parametrize("minor", runtimes.PYTHON_MINORS)
def test_python(shared_stack: Stack, minor: str, kind: str) -> None:
    """A Python service with the hook is captured on each CPython, every object counted."""
    stack, service = shared_stack, unique("shop")
    python = (
        runtimes.python(minor)
        if kind in ("plain", "asyncio")
        else runtimes.python_with_servers(minor)
    )
    if python is None:
        pytest.skip(f"CPython {minor} (with gunicorn) is not on this machine")
    port = free_port()
    with python_app(kind, python, stack, port, service):
        target = worker(stack, service, get(port, "/stats").get("pid"))
        session, report = capture_twice(stack, target, port)

        class_name = f"{'__main__' if kind in ('plain', 'asyncio') else 'leaky_wsgi'}.LeakedReport"
        check_report(report, class_name)
        check_files(stack, session, class_name)


def worker(stack: Stack, service: str, pid: int | None) -> str:
    """The target that answers requests: gunicorn's worker, not its master; any other by name."""
    if pid is None:
        return stack.wait_for_target(service)
    found: list[str] = []

    def known() -> bool:
        found[:] = [t.id for t in stack.targets() if t.service == service and t.pid == pid]
        return bool(found)

    wait_until(known, 60, f"target of pid {pid}")
    return found[0]
