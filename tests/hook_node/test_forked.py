"""Snapshots from a forked child (`hook/node/fork/`) in real Node processes."""

import json
import os
import urllib.request
from pathlib import Path

import pytest

from tests.agent.drivers.apps import COMMONJS, MAJORS, App, node_app, planted
from tests.hook_node.forking import Peer, addon
from tests.hook_node.test_hook_node import hooked, target_of

#: A server that tells how long its loop stood still, and whether its own children are well.
SERVER = COMMONJS.replace("r.end('ok')", "answer(q, r)") + (
    """
const { spawn } = require('child_process');
let last = performance.now(), gap = 0;
setInterval(() => {
  gap = Math.max(gap, performance.now() - last);
  last = performance.now();
}, 1).unref();
function answer(request, response) {
  if (request.url === '/gap') { response.end(String(gap)); gap = 0; }
  else if (request.url === '/spawn') spawned(response);
  else response.end('ok');
}
function spawned(response) {
  const began = performance.now();
  const child = spawn('/bin/sh', ['-c', 'exit 7']);
  child.on('exit', (code) => {
    response.end(JSON.stringify({ code, took: performance.now() - began }));
  });
}
"""
)


def get(app: App, path: str) -> str:
    """What the app answers."""
    url = f"http://127.0.0.1:{app.first_line.split()[1]}{path}"
    with urllib.request.urlopen(url, timeout=30) as response:
        return str(response.read().decode())


def children(pid: int) -> list[str]:
    """The states of the process's children."""
    states = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        stat = Path(f"/proc/{child}/stat").read_text()
        states.append(stat.rpartition(")")[2].split()[0])
    return states


def marked(pid: int) -> int:
    """How many of the process's mappings a fork does not inherit."""
    return Path(f"/proc/{pid}/smaps").read_text().count(" dc")


async def peer_of(app: App, folder: Path) -> Peer:
    """A peer of the app's hook."""
    path = target_of(app, folder).hook_socket
    assert path is not None
    return await Peer.connected(path)


@pytest.mark.parametrize("major", MAJORS)
async def test_a_child_takes_the_snapshot_and_leaves_no_trace(tmp_path, major):
    """Whole snapshots, again and again; nothing of the parent's is different afterwards."""
    addon()
    with node_app(tmp_path, SERVER, major=major, count=3000, env=hooked(tmp_path)) as app:
        peer = await peer_of(app, tmp_path)
        first = await peer.forked()
        before = marked(app.pid), len(os.listdir(f"/proc/{app.pid}/fd"))
        second = await peer.forked()
        peer.ask()
        blocking = await peer.outcome()

        for forked in (first, second):
            assert planted(forked.data) == planted(blocking.data) == 3000
            assert forked.result["size_bytes"] == len(forked.data)
            assert forked.result["objects"] == json.loads(forked.data)["snapshot"]["node_count"]
            assert forked.result["pause"] == "forked"
            assert 0 < forked.result["pause_millis"] < blocking.result["pause_millis"]
            assert forked.result["extra_memory_bytes"] > 1_000_000
        assert len(os.listdir(f"/proc/{app.pid}/fd")) == before[1]
        assert marked(app.pid) > before[0] / 2 > 10
        assert children(app.pid) == []
        assert json.loads(get(app, "/spawn"))["code"] == 7
        assert get(app, "/") == "ok"
