"""A Node process that dies of its heap's limit, and what is known of it afterwards."""

import pytest

from tests.agent.drivers.apps import node
from tests.hook_node.forking import addon
from tests.support import runtimes
from tests.support.processes import running, wait_until
from tests.support.stack import Stack, unique

pytestmark = pytest.mark.e2e

#: Leaks, once it is told to.
APP = """
class Order { constructor() { this.items = Array.from({ length: 64 }, Math.random); } }
const fs = require('fs');
const kept = [];
setInterval(() => {
  if (!fs.existsSync(process.env.GO)) return;
  for (let i = 0; i < 1000; i += 1) kept.push(new Order());
}, 5);
"""


@pytest.fixture
def stack(tmp_path_factory):
    made = Stack(tmp_path_factory.mktemp("n"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_process_that_dies_of_its_limit_is_known_with_its_classes_and_its_heap(stack):
    """Both were written when V8 said so; both say where they come from, and which class it was."""
    addon()
    service, app, go = unique("limit"), stack.folder / "app.cjs", stack.folder / "go"
    app.write_text(APP)
    hook = runtimes.ROOT / "hook" / "node" / "memwatch-hook.cjs"
    env = {
        "MEMWATCH_SERVICE_NAME": service,
        "MEMWATCH_HOOK_DIR": str(stack.hooks),
        "MEMWATCH_NEAR_LIMIT": "snapshot",
        "NODE_OPTIONS": f"--require={hook}",
        "GO": str(go),
    }
    command = [node(24), "--max-old-space-size=64", app]
    with running(command, env=env, log=stack.folder / "log") as process:
        target = stack.wait_for_target(service)
        go.touch()
        wait_until(lambda: process.poll() is not None, 120, "the process to die")

    found = {}

    def both() -> bool:
        found["snapshots"] = stack.json("snapshots", "list", "--target", target)["snapshots"]
        profiles = stack.json("profiles", "list", "--service", service)["profiles"]
        found["profiles"] = [one for one in profiles if one["state"] == "PROFILE_STATE_SUCCEEDED"]
        return bool(found["snapshots"] and found["profiles"])

    wait_until(both, 90, "what it left to be stored")
    [snapshot], [profile] = found["snapshots"], found["profiles"]
    assert snapshot["origin"] == "SNAPSHOT_ORIGIN_NEAR_LIMIT"
    assert profile["origin"] == "PROFILE_ORIGIN_NEAR_LIMIT"
    assert "near-limit" in snapshot["file_name"]
    assert snapshot["service"] == profile["service"] == service
    assert "near-limit" in stack.ctl("snapshots", "list", "--target", target).stdout
    assert "heap's limit" in stack.ctl("snapshots", "get", snapshot["id"]).stdout

    rows = stack.json("profiles", "report", profile["id"], "classes")["rows"]
    assert "Order" in [row["name"] for row in rows[:3]]
    assert not list(stack.hooks.glob("*.profile*"))
