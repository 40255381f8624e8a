"""`hook/node/memwatch-hook.cjs` in real Node processes, spoken to by the agent's own shell."""

import asyncio
import json
import os
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers import hookwire as wire
from memwatch_agent.drivers.base import CaptureFacts, PauseSource, Process, Progress
from memwatch_agent.drivers.errors import (
    CaptureFailedError,
    InspectorNotTargetError,
    NoWayInError,
    TargetBusyError,
    TargetEndedError,
)
from memwatch_agent.drivers.hook import HookDriver
from tests.agent.drivers.apps import (
    COMMONJS,
    ES_MODULE,
    MAJORS,
    PLANT,
    App,
    Collected,
    node,
    node_app,
    planted,
)
from tests.support.processes import wait_until

HOOK = Path(__file__).resolve().parents[2] / "hook" / "node" / "memwatch-hook.cjs"


def ignored(progress: Progress) -> None:
    """Progress that nobody reads."""


def hooked(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process with the hook."""
    return {"NODE_OPTIONS": f"--require {HOOK}", "MEMWATCH_HOOK_DIR": str(folder), **more}


def sockets_in(folder: Path) -> list[Path]:
    """The hooks' sockets in a directory."""
    return sorted(folder.glob("node-*.sock"))


def target_of(app: App, folder: Path) -> Process:
    """The process as an agent finds it, once its hook listens."""
    found = procfs.stat(f"/proc/{app.pid}")
    assert found is not None
    path = folder / f"node-{app.pid}-{found.start_ticks}.sock"
    wait_until(path.exists, what=f"the hook to listen, there are {sockets_in(folder)}")
    process = app.process
    return Process(process.pid, process.start_ticks, process.runtime, hook_socket=path)


async def captured(target: Process) -> tuple[bytes, CaptureFacts]:
    """A snapshot through the hook, and what it cost."""
    sink = Collected()
    async with HookDriver().open(target) as link:
        facts = await link.capture(sink.take, ignored)
    return sink.data, facts


class RawPeer:
    """A peer that says what it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.frames = wire.FrameReader()
        self.seen: list[tuple[int, bytes]] = []

    def send(self, type_: int, fields: object) -> None:
        """Sends one JSON frame."""
        payload = json.dumps(fields).encode()
        self.socket.sendall(struct.pack(">IB", len(payload), type_) + payload)

    def next(self) -> tuple[int, bytes]:
        """The next frame; (0, b"") at the end."""
        while not self.seen:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return 0, b""
            self.seen += self.frames.feed(data)
        return self.seen.pop(0)

    def next_json(self, type_: int) -> dict[str, object]:
        """The next frame, which must be of that type."""
        got, payload = self.next()
        assert got == type_, (got, payload[:200])
        fields = json.loads(payload)
        assert isinstance(fields, dict)
        return fields


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("code", [COMMONJS, ES_MODULE], ids=["commonjs", "es-module"])
async def test_every_planted_object_is_in_the_snapshot(tmp_path, major, code):
    """The hook streams a whole snapshot and says what it cost."""
    with node_app(tmp_path, code, major=major, count=1234, env=hooked(tmp_path)) as app:
        data, facts = await captured(target_of(app, tmp_path))

        assert planted(data) == 1234
        assert facts.size_bytes == len(data)
        assert facts.objects == json.loads(data)["snapshot"]["node_count"]
        assert facts.pause_source is PauseSource.RUNTIME
        assert 10 < facts.pause_millis <= facts.duration_millis
        assert facts.extra_memory_bytes > 1_000_000
        assert facts.notes == ()
        assert facts.id_epoch


async def test_object_ids_stay_the_same_between_snapshots(tmp_path):
    """What carries one epoch may be compared by object."""
    with node_app(tmp_path, count=50, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        before, facts_before = await captured(target)
        after, facts_after = await captured(target)

        assert facts_before.id_epoch == facts_after.id_epoch
        ids_before, ids_after = ids_of(before, "Planted"), ids_of(after, "Planted")
        assert len(ids_before) >= 50
        assert ids_before == ids_after


def ids_of(snapshot: bytes, name: str) -> set[int]:
    """The ids of the objects of a name."""
    heap = json.loads(snapshot)
    fields, nodes = heap["snapshot"]["meta"]["node_fields"], heap["nodes"]
    at_name, at_id, wanted = fields.index("name"), fields.index("id"), heap["strings"].index(name)
    step = len(fields)
    return {nodes[at + at_id] for at in range(0, len(nodes), step) if nodes[at + at_name] == wanted}


async def test_stats_tell_the_heap(tmp_path):
    """Heap numbers without any pause."""
    with node_app(tmp_path, env=hooked(tmp_path)) as app:
        async with HookDriver().open(target_of(app, tmp_path)) as link:
            figures = await link.figures()
            stats = await link.stats()

        assert 1_000_000 < (figures.used_bytes or 0) < (figures.limit_bytes or 0)
        assert {"memory", "heap", "spaces", "uptime_millis"} <= set(stats)
        assert stats["heap"]["native_contexts"] >= 1


def test_info_and_gc_and_unknown_commands(tmp_path):
    """Every command of the wire answers, and others are refused in words."""
    with node_app(tmp_path, env=hooked(tmp_path, MEMWATCH_SERVICE_NAME="shop")) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        peer = RawPeer(target.hook_socket)
        hello = peer.next_json(wire.FrameType.HELLO)
        assert (hello["pid"], hello["start_ticks"]) == (app.pid, target.start_ticks)
        assert (hello["runtime"], hello["service"]) == ("node", "shop")

        peer.send(wire.FrameType.REQUEST, {"id": 1, "command": "info"})
        info = peer.next_json(wire.FrameType.RESULT)["result"]
        assert isinstance(info, dict)
        assert info["main"].endswith("app.cjs")
        peer.send(wire.FrameType.REQUEST, {"id": 2, "command": "gc", "options": {}})
        assert peer.next_json(wire.FrameType.RESULT) == {"id": 2, "result": {"available": False}}
        peer.send(wire.FrameType.REQUEST, {"id": 3, "command": "explode", "options": {}})
        error = peer.next_json(wire.FrameType.ERROR)
        assert (error["id"], error["reason"]) == (3, "UNKNOWN_COMMAND")


def test_gc_with_expose_gc(tmp_path):
    """Where the app lets it, the hook collects."""
    with node_app(tmp_path, flags=("--expose-gc",), env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        peer = RawPeer(target.hook_socket)
        peer.next()
        peer.send(wire.FrameType.REQUEST, {"id": 1, "command": "gc"})
        result = peer.next_json(wire.FrameType.RESULT)["result"]

        assert isinstance(result, dict)
        assert result["available"] is True
        assert result["collected"] >= 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff\x02",
        b"\x00\x00\x00\x02\x02[]",
        b"\x00\x00\x00\x03\x02{x}",
        b"\x00\x00\x00\x02\x02{}",
    ],
    ids=repr,
)
def test_a_peer_that_breaks_the_protocol_is_dropped(tmp_path, garbage):
    """Bad frames end the connection, and nothing else."""
    with node_app(tmp_path, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        peer = RawPeer(target.hook_socket)
        peer.next()
        peer.socket.sendall(garbage)

        assert peer.next() == (0, b"")
        assert app.alive


def test_frames_may_come_in_pieces(tmp_path):
    """A request cut anywhere is still one request."""
    with node_app(tmp_path, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        peer = RawPeer(target.hook_socket)
        peer.next()
        request = wire.json_frame(wire.FrameType.REQUEST, {"id": 1, "command": "info"})
        for at in range(len(request)):
            peer.socket.sendall(request[at : at + 1])
            time.sleep(0.001)

        assert peer.next_json(wire.FrameType.RESULT)["id"] == 1


async def test_one_snapshot_at_a_time(tmp_path):
    """A second peer is told BUSY while the first one's snapshot is being sent."""
    with node_app(tmp_path, count=50_000, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        first = RawPeer(target.hook_socket)
        first.next()
        first.send(wire.FrameType.REQUEST, {"id": 1, "command": "heap"})
        with pytest.raises(TargetBusyError):
            await captured(target)  # the first one has not read its bytes
        total = await asyncio.to_thread(read_snapshot, first)
        data, _ = await captured(target)

        assert total == pytest.approx(len(data), rel=0.05)


def read_snapshot(peer: RawPeer) -> int:
    """Reads to the RESULT; the bytes that came are those it says."""
    total = 0
    while (frame := peer.next())[0] == wire.FrameType.DATA:
        total += len(frame[1])
    assert frame[0] == wire.FrameType.RESULT
    result = json.loads(frame[1])["result"]
    assert result["size_bytes"] == total
    assert "waited in the target's memory" in result["notes"][0]
    return total


@pytest.mark.parametrize("begun", [False, True], ids=["before it began", "while it is sent"])
async def test_a_snapshot_that_is_given_up(tmp_path, begun):
    """CANCEL ends it between two frames, and the hook is free again."""
    with node_app(tmp_path, count=50_000, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        peer = RawPeer(target.hook_socket)
        peer.next()
        request = wire.json_frame(wire.FrameType.REQUEST, {"id": 1, "command": "heap"})
        if begun:
            peer.socket.sendall(request)
            assert peer.socket.recv(1, socket.MSG_PEEK)
            peer.socket.sendall(wire.frame(wire.FrameType.CANCEL))
            async with HookDriver().open(target) as link:  # answers when the app's loop turns again
                await link.stats()
        else:
            peer.socket.sendall(request + wire.frame(wire.FrameType.CANCEL))
        size = 0
        while (frame := await asyncio.to_thread(peer.next))[0] == wire.FrameType.DATA:
            size += len(frame[1])

        assert (frame[0], json.loads(frame[1])["reason"]) == (wire.FrameType.ERROR, "CANCELLED")
        data, _ = await captured(target)
        assert planted(data) == 50_000
        assert size < len(data) / 2
        assert bool(size) is begun


async def test_a_peer_that_goes_away_half_way(tmp_path):
    """A connection that ends gives its snapshot up; the app and the hook go on."""
    with node_app(tmp_path, count=50_000, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        assert target.hook_socket is not None
        peer = RawPeer(target.hook_socket)
        peer.next()
        peer.send(wire.FrameType.REQUEST, {"id": 1, "command": "heap"})
        await asyncio.to_thread(peer.next)
        peer.socket.close()
        data, _ = await captured(target)

        assert planted(data) == 50_000
        assert app.alive


async def test_a_target_that_dies_half_way_is_told(tmp_path):
    """The error says that the process has ended."""
    with node_app(tmp_path, count=50_000, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)

        async def killing(_data: bytes) -> None:
            app.popen.kill()
            app.popen.wait()

        with pytest.raises(TargetEndedError):
            async with HookDriver().open(target) as link:
                await link.capture(killing, ignored)


CLUSTER = (
    """
const cluster = require('cluster');
if (cluster.isPrimary) {
  let up = 0;
  for (let i = 0; i < 2; i++) cluster.fork().on('message', () => { if (++up === 2) tell(); });
  function tell() {
    console.log('up 0 ' + Object.values(cluster.workers).map((w) => w.process.pid).join(' '));
  }
} else {
"""
    + PLANT
    + """
  require('http').createServer((q, r) => r.end()).listen(0, '127.0.0.1', () => process.send('up'));
}
"""
)


@pytest.mark.parametrize("major", [18, 24])
async def test_every_cluster_worker_has_a_hook_of_its_own(tmp_path, major):
    """Primary and workers are told apart by their sockets."""
    with node_app(tmp_path, CLUSTER, major=major, count=33, env=hooked(tmp_path)) as app:
        workers = [int(word) for word in app.first_line.split()[2:]]
        wait_until(lambda: len(sockets_in(tmp_path)) == 3, what="three hooks")
        for pid in workers:
            worker = App(app.popen, {})
            worker.pid = pid
            data, _ = await captured(target_of(worker, tmp_path))
            assert planted(data) == 33


async def test_worker_threads_do_not_listen(tmp_path):
    """One hook for a process, in its main thread."""
    code = COMMONJS + (
        "const { Worker } = require('worker_threads');\n"
        "new Worker('setInterval(() => {}, 1000)', { eval: true });\n"
    )
    with node_app(tmp_path, code, env=hooked(tmp_path)) as app:
        data, _ = await captured(target_of(app, tmp_path))

        assert planted(data) == 1000
        assert len(sockets_in(tmp_path)) == 1


def test_the_socket_is_its_owners_alone(tmp_path):
    """Mode 0600 in a directory made with 0700."""
    folder = tmp_path / "hooks"
    with node_app(tmp_path, env=hooked(folder)) as app:
        target = target_of(app, folder)
        assert target.hook_socket is not None

        assert stat.S_IMODE(target.hook_socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def run(folder: Path, code: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """A short program with the hook, to its end."""
    return subprocess.run(
        [str(node()), "-e", code],
        env={"PATH": os.environ["PATH"], **hooked(folder), **env},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("major", MAJORS)
def test_a_program_ends_when_it_would_and_leaves_no_socket(tmp_path, major):
    """The hook keeps no process alive, prints nothing and removes its socket."""
    code = "setTimeout(() => console.log(require('fs').readdirSync(process.argv[1])), 100)"
    done = subprocess.run(
        [str(node(major)), "-e", code, str(tmp_path)],
        env={"PATH": os.environ["PATH"], **hooked(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert ".sock" in done.stdout
    assert sockets_in(tmp_path) == []


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null", "/" + "x" * 120, "", "no\udcff"])
def test_an_unusable_directory_switches_the_hook_off_silently(tmp_path, folder):
    """The app neither hears nor sees anything."""
    code = "setTimeout(() => console.log('fine'), 50)"
    done = run(tmp_path, code, MEMWATCH_HOOK_DIR=folder)

    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


@pytest.mark.parametrize("argv1", ["npm", "npm-cli.js", "yarn.js", "pnpm.cjs", "corepack.js"])
def test_package_managers_are_left_alone(tmp_path, argv1):
    """Npm and its like inherit NODE_OPTIONS and are nobody's service."""
    script = tmp_path / argv1
    script.write_text("setTimeout(() => {}, 100)")
    folder = tmp_path / "hooks"
    subprocess.run(
        [str(node()), script], env={"PATH": os.environ["PATH"], **hooked(folder)}, check=True
    )

    assert not folder.exists()


def test_it_is_switched_off_by_one_variable(tmp_path):
    """MEMWATCH_HOOK=off."""
    folder = tmp_path / "hooks"
    done = run(folder, "setTimeout(() => {}, 100)", MEMWATCH_HOOK="off")

    assert done.returncode == 0
    assert not folder.exists()


def test_an_app_that_ends_by_an_exception_ends_as_without_the_hook(tmp_path):
    """Exit code and message are the app's own."""
    done = run(tmp_path, "setTimeout(() => { throw new Error('mine') }, 50)")

    assert done.returncode == 1
    assert "Error: mine" in done.stderr
    assert "memwatch" not in done.stderr


def test_leftovers_are_tidied_and_the_living_are_not(tmp_path):
    """A socket that nobody listens on is removed; one that is listened on, or not ours, stays."""
    dead = tmp_path / "node-4194303-1.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(dead))
    alive = tmp_path / "node-4194303-2.sock"
    other = tmp_path / "python-4194303-1.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as python:
        listening.bind(str(alive))
        listening.listen()
        python.bind(str(other))
        with node_app(tmp_path, env=hooked(tmp_path)) as app:
            target_of(app, tmp_path)
            wait_until(lambda: not dead.exists(), what="the leftover to go")

            assert alive.exists()
            assert other.exists()


async def test_a_name_that_is_taken_by_a_leftover_is_taken_over(tmp_path):
    """A pid and start time may come again in another container: the dead one's name is free."""
    code = (
        "const fs = require('fs');\n"
        "const stat = fs.readFileSync('/proc/self/stat', 'latin1');\n"
        "const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];\n"
        "const dead = `${process.env.MEMWATCH_HOOK_DIR}/node-${process.pid}-${ticks}.sock`;\n"
        "fs.renameSync(`${process.env.MEMWATCH_HOOK_DIR}/dead`, dead);\n"
    )
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "dead"))
    with node_app(tmp_path, code + COMMONJS, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        wait_until(lambda: answers(target), what="the hook to answer")
        data, _ = await captured(target)

        assert planted(data) == 1000


def answers(target: Process) -> bool:
    """Whether anybody listens on the target's hook socket."""
    assert target.hook_socket is not None
    try:
        RawPeer(target.hook_socket).socket.close()
    except OSError:
        return False
    return True


async def test_a_socket_of_another_process_is_no_way_in(tmp_path):
    """Who listens is asked of the kernel, not of the peer."""
    with node_app(tmp_path, env=hooked(tmp_path)) as app, node_app(tmp_path) as other:
        hook = target_of(app, tmp_path).hook_socket
        process = other.process
        target = Process(process.pid, process.start_ticks, process.runtime, hook_socket=hook)
        with pytest.raises(InspectorNotTargetError, match=str(app.pid)):
            await captured(target)


async def test_without_a_hook_there_is_no_way_in(tmp_path):
    """The error names the next step."""
    with node_app(tmp_path) as app:
        with pytest.raises(NoWayInError, match="start it with the hook"):
            await captured(app.process)
        gone = Process(
            app.pid, app.process.start_ticks, app.process.runtime, hook_socket=tmp_path / "x.sock"
        )
        with pytest.raises(NoWayInError, match="does not answer"):
            await captured(gone)


async def test_a_sink_that_fails_is_told_as_it_is(tmp_path):
    """A full disk is not the hook's fault."""
    with node_app(tmp_path, env=hooked(tmp_path)) as app:

        async def full(_data: bytes) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            async with HookDriver().open(target_of(app, tmp_path)) as link:
                await link.capture(full, ignored)
        data, _ = await captured(target_of(app, tmp_path))

        assert planted(data) == 1000


async def test_a_snapshot_that_cannot_be_taken_is_an_error_in_words(tmp_path):
    """What V8 throws reaches the caller, and the app goes on."""
    code = COMMONJS + "require('v8').getHeapSnapshot = () => { throw new Error('not today'); };"
    with node_app(tmp_path, code, env=hooked(tmp_path)) as app:
        with pytest.raises(CaptureFailedError, match="not today"):
            await captured(target_of(app, tmp_path))

        assert app.alive
