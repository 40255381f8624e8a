"""Snapshots from a forked child (`hook/node/fork/`) in real Node processes."""

import asyncio
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from bench.node_endurance import endure
from memwatch_agent.drivers import hookwire as wire
from tests.agent.drivers.apps import COMMONJS, MAJORS, App, node, node_app, planted
from tests.hook_node.forking import Peer, addon
from tests.hook_node.test_hook_node import HOOK, hooked, target_of
from tests.support.processes import wait_until

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


#: A child that fails in the way that the last request to /fail/… named.
FAILING = SERVER.replace(
    "if (request.url === '/gap')",
    "if (fail(request.url)) response.end();\n  else if (request.url === '/gap')",
) + (
    """
const v8 = require('v8');
const write = v8.writeHeapSnapshot;
let way = '';
function fail(url) {
  if (url.startsWith('/fail/')) way = url.slice(6);
  return url.startsWith('/fail/');
}
const ways = {
  waits: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  sleeps: () => require('fs').readFileSync(process.env.FIFO),
  spins: () => { for (;;); },
  grows: () => { for (const all = []; ;) all.push(Buffer.alloc(1 << 20, 1)); },
  throws: () => { throw new Error('not today'); },
  aborts: () => process.abort(),
  dies: () => process.kill(Number(require('fs').readlinkSync('/proc/self')), 'SIGKILL'),
};
v8.writeHeapSnapshot = (file) => (ways[way] || write)(file);
"""
)


async def test_a_child_that_fails_is_told_and_the_app_serves_on(tmp_path):
    """Whatever becomes of it: the reason in words, no process left, the next snapshot whole."""
    addon()
    os.mkfifo(tmp_path / "fifo")
    bounds = {"deadline_millis": 1500, "quiet_millis": 300, "max_bytes": 100 << 20}
    said = {
        "waits": "could not go on: waits for another thread",
        "sleeps": "it hung, and was ended",
        "spins": "not done by its deadline",
        "grows": r"it took 1\d\d MB, more than it was allowed",
        "throws": "Error: not today",
        "aborts": r"crashed \(signal 6\)",
        "dies": r"was ended \(wait status 9\)",
    }
    env = hooked(tmp_path, FIFO=str(tmp_path / "fifo"))
    with node_app(tmp_path, FAILING, count=3000, env=env) as app:
        peer = await peer_of(app, tmp_path)
        for way, sentence in said.items():
            await asyncio.to_thread(get, app, f"/fail/{way}")
            outcome = await peer.forked(**bounds)
            assert outcome.fields["reason"] == "CHILD_FAILED"
            assert re.search(sentence, outcome.message), (way, outcome.message)
            assert outcome.fields["pause_millis"] > 0
            assert await asyncio.to_thread(get, app, "/") == "ok"
        assert children(app.pid) == []
        await asyncio.to_thread(get, app, "/fail/")
        assert planted((await peer.forked()).data) == 3000


async def test_a_child_without_a_reader_is_ended(tmp_path):
    """By a CANCEL, which leaves the connection usable, and by a peer that goes away."""
    addon()
    with node_app(tmp_path, SERVER, count=200_000, env=hooked(tmp_path)) as app:
        peer = await peer_of(app, tmp_path)
        peer.ask(pause="forked")
        await asyncio.to_thread(wait_until, lambda: children(app.pid))
        peer.ask("info")  # a second word while the child writes waits for its last frame
        peer.writer.write(wire.frame(wire.FrameType.CANCEL))
        given_up, busy = await peer.outcome(), await peer.outcome()
        assert {given_up.fields["reason"], busy.fields["reason"]} == {"CANCELLED", "BUSY"}
        peer.ask("info")
        assert (await peer.outcome()).result["pid"] == app.pid

        peer.ask(pause="forked")
        await asyncio.to_thread(wait_until, lambda: children(app.pid))
        peer.close()
        await asyncio.to_thread(wait_until, lambda: not children(app.pid))
        again = await peer_of(app, tmp_path)
        assert planted((await again.forked()).data) == 200_000


async def test_without_an_addon_the_reason_is_told(tmp_path):
    """A hook that stands alone answers in words, and takes the blocking way when asked."""
    alone = tmp_path / "memwatch-hook.cjs"
    alone.write_bytes(HOOK.read_bytes())
    env = {"NODE_OPTIONS": f"--require {alone}", "MEMWATCH_HOOK_DIR": str(tmp_path)}
    with node_app(tmp_path, COMMONJS, count=100, env=env) as app:
        peer = await peer_of(app, tmp_path)
        refused = await peer.forked()
        peer.ask()

        assert refused.fields["reason"] == "CANNOT_FORK"
        assert "cannot be loaded" in refused.message
        assert planted((await peer.outcome()).data) == 100


def test_the_addon_loads_on_old_systems_too():
    """It asks for no call that is newer than glibc 2.17."""
    symbols = subprocess.run(
        ["objdump", "-T", addon()], capture_output=True, text=True, check=False
    ).stdout
    versions = {
        tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([\d.]+)", symbols)
    }

    assert versions
    assert max(version[:2] for version in versions) <= (2, 17)


async def test_a_short_endurance_run(tmp_path):
    """What bench/node_endurance.py does for thousands of snapshots holds for eight."""
    addon()
    told = await endure("Node 24", node(), tmp_path, 8)

    assert (told.snapshots, told.bad_requests) == (8, 0)
    assert told.requests > 0
    assert told.after["children"] == 0
    assert abs(told.after["fds"] - told.before["fds"]) <= 6  # the clients' own connections
