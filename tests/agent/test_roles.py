"""`roles.py`: what Node processes are among others, told from real ones."""

import json
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.processes import ProcessTable
from memwatch_agent.roles import Pm2, pm2_of, role_of
from tests.agent.drivers.apps import node, running
from tests.support.processes import wait_until

CLUSTER = """
const cluster = require('cluster');
const { Worker } = require('worker_threads');
if (cluster.isPrimary) {
  let left = 2;
  for (let i = 0; i < 2; i += 1) cluster.fork({ name: 'shop', pm_id: '7' });
  cluster.on('message', () => { left -= 1; if (!left) console.log('up'); });
} else {
  setInterval(() => {}, 1000);
  const worker = new Worker('setInterval(() => {}, 1000)', { eval: true });
  worker.on('online', () => process.send('up'));
}
"""


def children(pid):
    """The processes that one has started."""
    pairs = ((one, procfs.stat(f"/proc/{one}")) for one in procfs.pids(Path("/proc")))
    return [one for one, found in pairs if found and found.parent == pid]


def test_a_cluster_is_listed_as_a_primary_and_its_workers(tmp_path):
    """With PM2's name of each and its worker threads, which Node 24 names."""
    script = tmp_path / "app.cjs"
    script.write_text(CLUSTER)
    with running([node(24), script]) as app:
        wait_until(lambda: len(children(app.pid)) == 2, what="the workers")
        pids = [app.pid, *children(app.pid)]
        table = ProcessTable(only=pids)
        table.scan()
        found = {one.pid: one for one in table.scan()}

    primary, *workers = (found[pid] for pid in pids)
    assert primary.role == "cluster primary"
    assert sorted(one.role for one in workers) == [
        "cluster worker 1, pm2 7",
        "cluster worker 2, pm2 7",
    ]
    assert {one.service for one in workers} == {"shop"}
    assert [one.worker_threads for one in (primary, *workers)] == [0, 1, 1]


def test_pm2_is_known_in_both_of_its_modes():
    """By single variables, and by one of JSON; a lie is no name, and a name alone is nobody's."""
    packed = json.dumps({"name": "shop", "pm_id": 3})

    assert pm2_of({"name": "shop", "pm_id": "3"}) == Pm2("shop", "3")
    assert pm2_of({"pm2_env": packed}) == Pm2("shop", "3")
    assert pm2_of({"pm2_env": "[" * 100_000}) == pm2_of({"name": "shop"}) == Pm2()
    assert role_of(("PM2 v5.4.2: God Daemon (/home/node/.pm2)",), {}, leads=True) == "pm2 daemon"
    assert role_of(("node", "app.js"), {}, leads=False) == ""
