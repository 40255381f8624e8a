"""`drivers/node.py`: attaching to real Node processes, and leaving no trace."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from memwatch_agent.drivers import injection, inspector, markers, sockets
from memwatch_agent.drivers.base import CaptureFacts, Manner, PauseSource, Process, Progress
from memwatch_agent.drivers.errors import (
    DebuggerAttachedError,
    DriverError,
    InspectorExposedError,
    InspectorNotTargetError,
    NoWayInError,
    TargetBusyError,
    TargetEndedError,
)
from memwatch_agent.drivers.node import NodeAttachDriver
from tests.agent.drivers.apps import (
    COMMONJS,
    ES_MODULE,
    MAJORS,
    PLANT,
    App,
    Collected,
    node,
    node_app,
    other_app,
    planted,
    running,
)
from tests.hook_node.forking import addon, forked_by
from tests.support.processes import free_port, wait_until


def ignored(progress: Progress) -> None:
    """Progress that nobody reads."""


async def captured(state: Path, target: Process) -> tuple[bytes, CaptureFacts]:
    """A snapshot by a driver of its own, and what it cost."""
    sink = Collected()
    async with NodeAttachDriver(state).open(target) as link:
        facts = await link.capture(sink.take, ignored)
    return sink.data, facts


def ports(app: App) -> list[int]:
    """The ports that the program listens on, without the one it serves."""
    own = int(app.first_line.split()[1])
    return [row.port for row in sockets.listeners(app.pid) if row.port != own]


def answers(app: App) -> bool:
    """Whether the program still serves."""
    port = int(app.first_line.split()[1])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
        return bool(response.read() == b"ok")


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("code", [COMMONJS, ES_MODULE], ids=["commonjs", "es-module"])
async def test_every_planted_object_is_in_the_snapshot_and_no_trace_is_left(tmp_path, major, code):
    """The snapshot is whole, its cost is measured, the port is shut and the app goes on."""
    state = tmp_path / "state"
    state.mkdir()
    with node_app(tmp_path, code, major=major, count=1234) as app:
        driver, sink = NodeAttachDriver(state), Collected()
        async with driver.open(app.process) as link:
            assert ports(app) == []
            facts = await link.capture(sink.take, ignored)
        await driver.aclose()
        await asyncio.to_thread(wait_until, lambda: sockets_of(app) == [sockets.LISTEN])

        assert planted(sink.data) == 1234
        check_costs(facts, sink.data)
        assert facts.id_epoch
        assert facts.notes == ()
        assert list(state.iterdir()) == []
        assert answers(app)


def check_costs(facts: CaptureFacts, data: bytes) -> None:
    """Every cost of a small heap's snapshot has been measured."""
    assert facts.size_bytes == len(data)
    assert facts.pause_source is PauseSource.RUNTIME
    assert 10 < facts.pause_millis <= facts.duration_millis + 1
    assert facts.cpu_millis > 0
    assert facts.extra_memory_bytes > 1_000_000


def sockets_of(app: App) -> list[int]:
    """The states of the program's TCP sockets, but for those that are just being closed."""
    lasting = (sockets.LISTEN, sockets.ESTABLISHED)
    return [r.state for r in sockets.held_by(app.pid, sockets.rows(app.pid)) if r.state in lasting]


#: In front of a program in which the hook cannot connect to the agent.
NO_CONNECT = {
    "commonjs": "require('net').connect = () => { throw new Error('no connect'); };\n",
    "es-module": (
        "import net from 'node:net';\nnet.connect = () => { throw new Error('no connect'); };\n"
    ),
}


@pytest.mark.parametrize(
    ("major", "kind"),
    [*((major, "commonjs") for major in MAJORS), (18, "es-module"), (24, "es-module")],
)
async def test_where_the_hook_cannot_connect_the_snapshot_comes_over_the_inspector(
    tmp_path, major, kind
):
    """The older way: whole and measured too, with a note, and ids that compare with none."""
    state = tmp_path / "state"
    state.mkdir()
    code = NO_CONNECT[kind] + (COMMONJS if kind == "commonjs" else ES_MODULE)
    with node_app(tmp_path, code, major=major, count=321) as app:
        data, facts = await captured(state, app.process)

        assert planted(data) == 321
        check_costs(facts, data)
        assert facts.id_epoch == ""
        assert len(facts.notes) == 1
        assert "no connect" in facts.notes[0]
        assert ports(app) == []
        assert list(state.iterdir()) == []
        assert answers(app)


@pytest.mark.parametrize(
    ("major", "opened_by_owner"), [*((major, False) for major in MAJORS), (18, True), (24, True)]
)
async def test_object_ids_stay_the_same_between_two_captures(tmp_path, major, opened_by_owner):
    """What carries one epoch may be compared by object; V8 keeps the ids as long as we do."""
    flags = (f"--inspect={free_port()}",) if opened_by_owner else None
    with node_app(tmp_path, major=major, count=500, flags=flags) as app:
        driver = NodeAttachDriver(tmp_path)
        ids, epochs = [], []
        for _ in range(2):
            sink = Collected()
            async with driver.open(app.process) as link:
                epochs.append((await link.capture(sink.take, ignored)).id_epoch)
            ids.append(ids_of(sink.data))
        await driver.aclose()

        assert epochs[0] == epochs[1] != ""
        assert len(ids[0] | ids[1]) == 500
        _, again = await captured(tmp_path, app.process)
        assert again.id_epoch not in ("", epochs[0])


def ids_of(snapshot: bytes) -> set[int]:
    """The ids of the planted objects: those with a property edge of their name."""
    heap = json.loads(snapshot)
    meta, nodes, edges = heap["snapshot"]["meta"], heap["nodes"], heap["edges"]
    fields, edge_fields = meta["node_fields"], meta["edge_fields"]
    at_id, at_count, step = fields.index("id"), fields.index("edge_count"), len(fields)
    mark, found, at = heap["strings"].index("planted_mark"), set(), 0
    property_type = meta["edge_types"][0].index("property")
    for node_at in range(0, len(nodes), step):
        for _ in range(nodes[node_at + at_count]):
            if edges[at] == property_type and edges[at + 1] == mark:
                found.add(nodes[node_at + at_id])
            at += len(edge_fields)
    return found


async def test_a_kept_connection_of_a_target_that_ended_is_let_go(tmp_path):
    """The next capture says what there is to say: the process has ended."""
    with node_app(tmp_path) as app:
        driver, target = NodeAttachDriver(tmp_path), app.process
        async with driver.open(target) as link:
            await link.capture(Collected().take, ignored)
        app.popen.kill()
        app.popen.wait()

        with pytest.raises(TargetEndedError):
            async with driver.open(target):
                pass
        await driver.aclose()


async def test_figures_tell_the_heap_and_its_limit(tmp_path):
    """V8's own numbers, before anything is taken."""
    with node_app(
        tmp_path, flags=(f"--inspect-port={free_port()}", "--max-old-space-size=300")
    ) as app:
        async with NodeAttachDriver(tmp_path).open(app.process) as link:
            figures = await link.figures()

        assert 1_000_000 < (figures.used_bytes or 0) < 100_000_000
        assert 300_000_000 < (figures.limit_bytes or 0) < 600_000_000
        assert ports(app) == []


async def test_a_second_snapshot_works_like_the_first(tmp_path):
    """Opening, shutting and opening again is as good as new."""
    with node_app(tmp_path) as app:
        first, _ = await captured(tmp_path, app.process)
        second, _ = await captured(tmp_path, app.process)

        assert planted(first) == planted(second) == 1000
        assert ports(app) == []


async def test_the_default_port(tmp_path):
    """A process without any flag opens 9229."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 9229))
        except OSError:
            pytest.skip("port 9229 is in use on this machine")
    with node_app(tmp_path, flags=()) as app:
        data, _ = await captured(tmp_path, app.process)

        assert planted(data) == 1000
        assert ports(app) == []


@pytest.mark.parametrize(
    ("flag", "env"),
    [("--inspect-port=0", {}), ("", {"NODE_OPTIONS": "--inspect-port=0"})],
    ids=["flag", "NODE_OPTIONS"],
)
async def test_any_port(tmp_path, flag, env):
    """Where the system chooses the port, the target's own sockets tell it."""
    with node_app(tmp_path, flags=(flag,) if flag else (), env=env) as app:
        data, _ = await captured(tmp_path, app.process)

        assert planted(data) == 1000
        assert ports(app) == []


@pytest.mark.parametrize("where", ["{port}", "0", "[::1]:{port}"])
async def test_an_inspector_that_the_owner_opened_is_used_and_left_open(tmp_path, where):
    """What was open before is open afterwards, at any address, and no signal is sent."""
    flag = "--inspect=" + where.format(port=free_port())
    with node_app(tmp_path, flags=(flag,)) as app:
        before = ports(app)
        data, facts = await captured(tmp_path, app.process)

        assert planted(data) == 1000
        assert ports(app) == before != []
        assert facts.notes == ()


async def test_an_inspector_opened_by_the_app_at_an_unknown_port_is_found(tmp_path, monkeypatch):
    """inspector.open(port) says nothing to the outside; it is found and left open."""
    monkeypatch.setattr(inspector, "OPEN_SECONDS", 0.3)
    port = free_port()
    with node_app(tmp_path, COMMONJS + f"require('inspector').open({port});") as app:
        data, _ = await captured(tmp_path, app.process)

        assert planted(data) == 1000
        assert ports(app) == [port]
        assert not list(tmp_path.glob("inspector-*"))


async def test_an_exposed_inspector_of_the_owner_is_used_with_a_note(tmp_path):
    """--inspect=0.0.0.0 is the owner's choice; the snapshot says what it means."""
    port = free_port()
    with node_app(tmp_path, flags=(f"--inspect=0.0.0.0:{port}",)) as app:
        _, facts = await captured(tmp_path, app.process)

        assert any(f"0.0.0.0:{port}" in note for note in facts.notes)
        assert ports(app) == [port]


async def test_an_inspector_that_would_be_exposed_is_never_opened(tmp_path):
    """Where the signal would open the inspector to the world, none is sent."""
    with node_app(tmp_path, flags=(f"--inspect-port=0.0.0.0:{free_port()}",)) as app:
        with pytest.raises(InspectorExposedError, match=r"0\.0\.0\.0"):
            await captured(tmp_path, app.process)

        assert ports(app) == []
        assert not list(tmp_path.glob("inspector-*"))


async def test_a_handler_of_the_apps_own_is_an_error_in_words(tmp_path, monkeypatch):
    """Where SIGUSR1 opens no inspector, the error says why and what to do instead."""
    monkeypatch.setattr(inspector, "OPEN_SECONDS", 0.5)
    code = COMMONJS + "process.on('SIGUSR1', () => console.log('mine'));"
    with node_app(tmp_path, code) as app:
        with pytest.raises(NoWayInError, match="handles that signal itself") as raised:
            await captured(tmp_path, app.process)

        assert "hook" in raised.value.next_step
        assert answers(app)


async def test_disable_sigusr1_is_respected(tmp_path):
    """A process that switched the signal off would die of it: none is sent."""
    with node_app(tmp_path, flags=("--disable-sigusr1",)) as app:
        with pytest.raises(NoWayInError, match="--disable-sigusr1"):
            await captured(tmp_path, app.process)

        assert answers(app)


async def test_disable_sigusr1_that_cannot_be_seen_is_respected_too(tmp_path):
    """The kernel's mask of caught signals has the last word."""
    with node_app(tmp_path, flags=("--disable-sigusr1",)) as app:
        unseen = Process(app.pid, app.process.start_ticks, app.process.runtime)
        with pytest.raises(DriverError, match=r"does not catch SIGUSR1|9229"):
            await captured(tmp_path, unseen)

        assert answers(app)


async def test_a_port_of_another_process_is_never_spoken_to(tmp_path):
    """Another listener on the inspector's port gets no byte, and the target no signal."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.2)
        port = stranger.getsockname()[1]
        with node_app(tmp_path, flags=(f"--inspect-port={port}",)) as app:
            with pytest.raises(InspectorNotTargetError, match=str(port)):
                await captured(tmp_path, app.process)
            with pytest.raises(TimeoutError):
                stranger.accept()

            assert ports(app) == []
            assert answers(app)


async def test_a_listener_that_changed_hands_is_never_spoken_to(tmp_path):
    """A connection that another process accepted is dropped before a byte is said."""
    with socket.create_server(("127.0.0.1", 0)) as stranger, node_app(tmp_path) as app:
        row = next(
            row for row in sockets.listeners(os.getpid()) if row.port == stranger.getsockname()[1]
        )
        accepting = asyncio.create_task(asyncio.to_thread(stranger.accept))
        with pytest.raises(InspectorNotTargetError):
            await inspector.dial(app.process, row)
        accepted, _ = await accepting

        assert accepted.recv(100) == b""


async def test_a_debugger_that_is_attached_is_not_disturbed(tmp_path):
    """While a client is connected the capture is refused; afterwards it works."""
    with node_app(tmp_path, flags=(f"--inspect={free_port()}",)) as app:
        row = await inspector.find(app.process)
        assert row is not None
        async with connect(await inspector.web_socket_url(app.process, row), proxy=None):
            with pytest.raises(DebuggerAttachedError, match="1 client"):
                await captured(tmp_path, app.process)
        data, _ = await captured(tmp_path, app.process)

        assert planted(data) == 1000


async def test_a_target_that_dies_half_way_is_told(tmp_path):
    """The error says that the process has ended, and no marker is left."""
    with node_app(tmp_path, count=50_000) as app:

        async def killing(_data: bytes) -> None:
            app.popen.kill()
            app.popen.wait()

        with pytest.raises(TargetEndedError):
            async with NodeAttachDriver(tmp_path).open(app.process) as link:
                await link.capture(killing, ignored)

        assert not list(tmp_path.glob("inspector-*"))


async def test_a_failing_sink_is_told_as_it_is_and_the_port_is_shut(tmp_path):
    """A full disk is not the target's fault, and leaves no inspector open."""
    with node_app(tmp_path, count=30_000) as app:

        async def full(_data: bytes) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            async with NodeAttachDriver(tmp_path).open(app.process) as link:
                await link.capture(full, ignored)

        assert ports(app) == []
        assert not list(tmp_path.glob("inspector-*"))
        assert answers(app)


async def test_a_cancelled_capture_shuts_the_port(tmp_path):
    """Whoever gives a capture up half-way leaves the target as it was."""
    with node_app(tmp_path, count=30_000) as app:
        driver = NodeAttachDriver(tmp_path)
        begun = asyncio.Event()

        async def slow(_data: bytes) -> None:
            begun.set()
            await asyncio.sleep(60)

        async def capture() -> None:
            async with driver.open(app.process) as link:
                await link.capture(slow, ignored)

        task = asyncio.create_task(capture())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert ports(app) == []
        assert answers(app)


async def test_two_captures_of_one_process_do_not_meet(tmp_path):
    """The inspector of a capture that is going on is not shut by another one."""
    with node_app(tmp_path) as app:
        driver = NodeAttachDriver(tmp_path)
        async with driver.open(app.process) as link:
            with pytest.raises(TargetBusyError):
                async with driver.open(app.process):
                    pass
            await driver.close_leftovers()
            sink = Collected()
            await link.capture(sink.take, ignored)

        assert planted(sink.data) == 1000
        assert ports(app) == []


KILLED_AGENT = """
import asyncio, os, signal, sys
from pathlib import Path
from memwatch_agent.drivers.base import Process, Runtime
from memwatch_agent.drivers.node import NodeAttachDriver

async def main(state, pid, ticks, port):
    target = Process(pid, ticks, Runtime.NODE, argv=("node", f"--inspect-port={port}", "app"))
    async with NodeAttachDriver(Path(state)).open(target):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
"""


async def test_what_a_killed_agent_left_open_is_shut_by_the_next_one(tmp_path):
    """The marker on disk outlives the agent; the next one shuts the port and removes it."""
    port = free_port()
    code = NO_CONNECT["commonjs"] + COMMONJS  # so that the inspector stays open
    with node_app(tmp_path, code, flags=(f"--inspect-port={port}",)) as app:
        arguments = [str(app.pid), str(app.process.start_ticks), str(port)]
        killed = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", KILLED_AGENT, str(tmp_path), *arguments],
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        assert ports(app) == [port]
        assert len(list(markers.leftovers(tmp_path))) == 1

        await NodeAttachDriver(tmp_path).close_leftovers()

        assert ports(app) == []
        assert not list(markers.leftovers(tmp_path))
        assert answers(app)


async def test_a_capture_after_a_killed_agent_shuts_what_that_left_open(tmp_path):
    """An inspector that we opened before stays ours."""
    with node_app(tmp_path) as app:
        target = app.process
        await inspector.open_by_signal(target, lambda: None)
        markers.marker(tmp_path, target.pid, target.start_ticks).write()
        data, _ = await captured(tmp_path, target)

        assert planted(data) == 1000
        assert ports(app) == []


async def test_markers_of_processes_that_are_gone_are_removed(tmp_path):
    """A marker whose process has ended means nothing."""
    markers.marker(tmp_path, 2**22, 1).write()
    markers.marker(tmp_path, os.getpid(), 1).write()
    await NodeAttachDriver(tmp_path).close_leftovers()

    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def catching_python(tmp_path: Path) -> Iterator[App]:
    """A Python program that survives SIGUSR1, and tells."""
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda *a: pathlib.Path(sys.argv[1]).touch())\n"
        "print('up 0', flush=True)\n"
        "time.sleep(60)\n"
    )
    with running([sys.executable, "-c", code, tmp_path / "signalled"]) as app:
        yield app


@pytest.mark.parametrize("name", ["sleep", "node", "java"])
async def test_a_process_that_is_not_node_is_never_signalled(tmp_path, name):
    """Whatever it is called, it survives: SIGUSR1 would have ended it."""
    binary = shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / name)
    port = free_port()
    with other_app([binary, "60"]) as app:
        target = Process(
            app.pid,
            app.process.start_ticks,
            app.process.runtime,
            argv=("node", f"--inspect-port={port}"),
        )
        with pytest.raises(NoWayInError, match="not Node"):
            await captured(tmp_path, target)

        assert app.alive


async def test_a_python_process_that_catches_the_signal_is_not_signalled_either(tmp_path):
    """Another program's SIGUSR1 means something else to it."""
    with catching_python(tmp_path) as app:
        target = Process(
            app.pid,
            app.process.start_ticks,
            app.process.runtime,
            argv=("node", f"--inspect-port={free_port()}"),
        )
        with pytest.raises(NoWayInError, match="not Node"):
            await captured(tmp_path, target)

        assert not (tmp_path / "signalled").exists()
        assert app.alive


async def test_a_pid_that_was_given_to_another_process_is_not_signalled(tmp_path):
    """The start time tells one process from the next of its pid."""
    with node_app(tmp_path) as app:
        old = Process(app.pid, app.process.start_ticks - 1, app.process.runtime)
        with pytest.raises(TargetEndedError):
            await captured(tmp_path, old)

        assert ports(app) == []


async def test_a_node_of_another_name_is_recognised(tmp_path):
    """What the program is counts, not what its file is called."""
    binary = tmp_path / "my-service"
    os.link(node(24), binary)
    script = tmp_path / "app.cjs"
    script.write_text(COMMONJS.replace("COUNT", "5"))
    with running([binary, f"--inspect-port={free_port()}", script]) as app:
        data, _ = await captured(tmp_path, app.process)

        assert planted(data) == 5


CLUSTER = (
    """
const cluster = require('cluster');
if (cluster.isPrimary) {
  const worker = cluster.fork();
  worker.on('message', () => console.log('up 0 ' + worker.process.pid));
} else {
"""
    + PLANT
    + """
  require('http').createServer((q, r) => r.end()).listen(0, '127.0.0.1', () => process.send('up'));
}
"""
)


async def test_a_cluster_worker_is_captured_by_itself(tmp_path):
    """A worker has an inspector of its own; the primary notices nothing."""
    with node_app(tmp_path, CLUSTER, count=77) as app:
        worker = App(app.popen, {})
        worker.pid = int(app.first_line.split()[2])
        data, _ = await captured(tmp_path, worker.process)

        assert planted(data) == 77
        assert sockets.listeners(worker.pid) == []
        assert app.alive


@pytest.mark.parametrize("major", [18, 24])
async def test_a_process_that_knew_nothing_of_us_forks(tmp_path, major):
    """The agent lends it the addon: a child takes the snapshot, and the inspector is shut."""
    addon()
    with node_app(tmp_path, ES_MODULE, major=major, count=1234) as app:
        async with NodeAttachDriver(tmp_path).open(app.process) as link:
            assert link.manners == (Manner.FORKED, Manner.BLOCKING)
            data, facts = await forked_by(link)

        assert planted(data) == 1234
        assert facts.manner is Manner.FORKED
        assert facts.id_epoch == ""
        assert facts.extra_memory_bytes > 1_000_000
        assert app.alive


async def test_an_addon_that_the_target_cannot_see_is_lent_as_bytes(tmp_path, monkeypatch):
    """It is written for the moment of loading, and nothing stays behind."""
    lent = injection.lent_addon
    addon()
    monkeypatch.setattr(injection, "lent_addon", lambda: {**lent(), "places": ["/nowhere"]})
    spare = tmp_path / "spare"
    spare.mkdir()
    with node_app(tmp_path, count=50, env={"TMPDIR": str(spare)}) as app:
        async with NodeAttachDriver(tmp_path).open(app.process) as link:
            data, _ = await forked_by(link)

        assert planted(data) == 50
        assert list(spare.iterdir()) == []
