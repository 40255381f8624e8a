"""A session that traces allocations names the line that the leaking objects were made at."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import get
from tests.hook import walkers
from tests.support import runtimes
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import APPS, Stack, unique

pytestmark = pytest.mark.e2e

#: Objects planted before tracing began, and added while it was on.
PLANTED, ADDED = 1_500, 700
PYTHON = "3.11"


def line_of(text: str) -> int:
    """The line of the service that holds a text."""
    source = (APPS / "leaky_python.py").read_text().splitlines()
    return 1 + next(number for number, line in enumerate(source) if text in line)


@contextlib.contextmanager
def service(stack: Stack, walker: str, name: str) -> Iterator[int]:
    """The leaking service with the hook and one of its walkers; its port."""
    python = runtimes.python(PYTHON)
    if python is None:
        pytest.skip(f"CPython {PYTHON} is not on this machine")
    try:
        env = walkers.environment(walker)
    except LookupError as cause:
        pytest.skip(f"no C walker: {cause}")
    env |= {"MEMWATCH_SERVICE_NAME": name, "MEMWATCH_HOOK_DIR": str(stack.hooks)}
    port = free_port()
    with running([python, APPS / "leaky_python.py", str(port)], env=env):
        wait_until(lambda: answers(port), 60)
        yield port


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        get(port, "/stats")
        return True
    return False


@pytest.mark.parametrize("walker", walkers.WALKERS)
def test_the_report_names_the_line_that_made_them(shared_stack: Stack, walker: str) -> None:
    """Exactly the new objects are counted at their line; afterwards nothing is traced."""
    stack, name = shared_stack, unique("sites")
    with service(stack, walker, name) as port:
        target = stack.wait_for_target(name)
        get(port, f"/leak?n={PLANTED}")
        flags = ("--timeframe", "3s", "--allocation-sites", "2", "--detach")
        session_id = stack.ctl("capture", target, *flags).stdout.strip()
        stack.wait_for_state(session_id, "WAITING")
        get(port, f"/leak?n={ADDED}")
        session = stack.wait_for_state(session_id, "SUCCEEDED", "FAILED")
        assert session["state"] == "SESSION_STATE_SUCCEEDED", session.get("error")

    first, last = (snapshot["notes"] for snapshot in session["targets"][0]["snapshots"])
    assert any("allocations are traced from here on" in note for note in first), first
    assert any("allocations are traced no more" in note for note in last), last
    made = line_of("REPORT_CACHE[number] = LeakedReport(number)")
    [suspect] = [
        found
        for found in stack.json("reports", "get", session_id)["verdict"]["suspects"]
        if found["object_class"].endswith("LeakedReport")
    ]
    [site] = suspect["allocation_sites"]
    assert site["location"]["script"].endswith("/leaky_python.py")
    assert (site["location"]["line"], int(site["count"])) == (made, ADDED)
    assert site["callers"] == [f"leaky_python.py:{line_of('            leak(count)')}"]
    assert int(suspect["allocation_known_count"]) == int(suspect["new_count"]) == ADDED
    text = stack.ctl("reports", "get", session_id).stdout
    assert f"made at leaky_python.py:{made} ({ADDED} of {ADDED})" in " ".join(text.split())
