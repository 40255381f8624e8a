"""The whole program: starts, serves, captures real processes, is killed, and stops."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from memwatch_agent import procfs
from memwatch_proto.auth import bearer
from memwatch_proto.chunks import checked_data, new_digest
from memwatch_proto.status import Reason, from_rpc_error
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, common_pb2
from tests.support import runtimes
from tests.support.processes import running, stop, wait_until
from tests.support.stack import HOOK_PATH, NODE_HOOK, program_env

TOKEN = "secret"
CLI = [sys.executable, "-m", "memwatch_agent"]

PLANTED_JS = """
const keep = []; globalThis.keep = keep;
for (let i = 0; i < %d; i++) keep.push({i, name: 'planted' + i});
setInterval(() => {}, 1000);
"""
PLANTED_PY = """
import time
keep = [{"i": i, "name": str(i)} for i in range(%d)]
time.sleep(600)
"""


class Agent:
    """An agent in a folder, started as its users start it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.address = f"unix:{folder}/a.sock"
        self.command = [*CLI, "--listen", self.address, "--state-dir", str(folder / "state")]
        self.command += ["--hook-dir", str(folder), "--metrics-listen", "off", *arguments]
        self.env = {**os.environ, **program_env(), "MEMWATCH_TOKEN": TOKEN}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        assert self.process is not None
        stop(self.process)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stderr=log, start_new_session=True
            )
        wait_until(self.serves, 30, "the agent to serve")

    def serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(grpc.RpcError), grpc.insecure_channel(self.address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(), timeout=2
            )
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    @contextlib.contextmanager
    def stub(self):
        with grpc.insecure_channel(self.address) as channel:
            yield Caller(agents_pb2_grpc.AgentServiceStub(channel))

    def spool(self) -> list[str]:
        return sorted(os.listdir(self.folder / "state" / "spool"))


class Caller:
    """The stub with the token in every call."""

    def __init__(self, stub) -> None:
        self.stub = stub

    def __getattr__(self, name):
        method = getattr(self.stub, name)
        return lambda request: method(request, metadata=bearer(TOKEN), timeout=60)

    def target(self, pid):
        """The target of a pid, once it offers a way."""
        known: list[object] = []

        def there() -> bool:
            request = agents_pb2.AgentServiceListTargetsRequest()
            known[:] = [t for t in self.ListTargets(request).targets if t.pid == pid and t.ways]
            return bool(known)

        wait_until(there, 20, f"a way into process {pid}")
        return known[0]

    def capture(self, target_id, request_id="r-1", **fields):
        request = agents_pb2.CaptureRequest(request_id=request_id, target_id=target_id, **fields)
        return list(self.Capture(request))[-1].snapshot

    def whole(self, snapshot) -> bytes:
        """The stored bytes, checked."""
        received = b""
        for chunk in self.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id)):
            received += checked_data(chunk, len(received))
        digest = new_digest()
        digest.update(received)
        assert digest.hexdigest() == chunk.sha256 == snapshot.stored_sha256
        return received


@pytest.fixture
def python_target(tmp_path):
    (tmp_path / "shop.py").write_text(PLANTED_PY % 100_000)
    env = {"PYTHONPATH": HOOK_PATH, "MEMWATCH_HOOK_DIR": str(tmp_path)}
    with running([sys.executable, tmp_path / "shop.py"], env=env) as process:
        yield process


@pytest.fixture
def node_target(tmp_path):
    binary = runtimes.any_node()
    if binary is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    (tmp_path / "web.js").write_text(PLANTED_JS % 100_000)
    with running([binary, "--inspect-port=0", tmp_path / "web.js"]) as process:
        yield process


def listens(pid) -> bool:
    """Whether any TCP socket of the process listens."""
    inodes = {procfs.link(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    table = (procfs.read(f"/proc/{pid}/net/tcp") or b"").decode().splitlines()[1:]
    rows = (line.split() for line in table)
    return any(row[3] == "0A" and f"socket:[{row[9]}]" in inodes for row in rows)


def test_it_serves_health_and_reflection_and_stops(tmp_path):
    """Ready when health says so, without a token; SIGTERM ends it with exit code 0."""
    with Agent(tmp_path) as agent, grpc.insecure_channel(agent.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([asked]), metadata=bearer(TOKEN))
        names = {one.name for one in answer.list_services_response.service}
        assert {"memwatch.v1.AgentService", "grpc.health.v1.Health"} <= names

        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(10) == 0


def test_its_socket_is_for_its_owner_alone(tmp_path):
    """Others on the machine cannot even connect."""
    with Agent(tmp_path):
        assert (tmp_path / "a.sock").stat().st_mode & 0o077 == 0


def test_the_agent_is_the_same_after_a_restart(tmp_path):
    """Its id is kept; a second agent on the same state directory does not start."""
    with Agent(tmp_path) as agent, agent.stub() as stub:
        first = stub.GetAgent(agents_pb2.GetAgentRequest())
        second = subprocess.run(
            agent.command, env=agent.env, capture_output=True, text=True, timeout=30, check=False
        )
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "another agent uses it" in second.stderr

    with Agent(tmp_path) as agent, agent.stub() as stub:
        again = stub.GetAgent(agents_pb2.GetAgentRequest())
    assert first.id == again.id
    assert {one.name for one in again.capabilities} >= {"node-attach", "node-hook", "python-hook"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "nonsense"], "cannot use --listen 'nonsense'"),
        (["--nope"], "unrecognized arguments: --nope"),
        (["--listen", "unix:/nonexistent/a.sock"], "cannot use --listen"),
        (["--metrics-listen", "256.0.0.1:1"], "cannot use --metrics-listen"),
        (["--state-dir", "/dev/null/x"], "cannot use state directory"),
    ],
)
def test_a_bad_start_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    """Whatever is wrong at the start is said in one line."""
    agent = Agent(tmp_path, *arguments)
    done = subprocess.run(
        agent.command, env=agent.env, capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("way", ["attach", "hook"])
def test_a_node_process_is_captured(tmp_path, way):
    """Attached to or hooked, the snapshot comes whole and nothing stays open."""
    binary = runtimes.any_node()
    if binary is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    (tmp_path / "web.js").write_text(PLANTED_JS % 20_000)
    env = {"MEMWATCH_HOOK_DIR": str(tmp_path)}
    if way == "hook":
        env["NODE_OPTIONS"] = f"--require={NODE_HOOK}"
    with (
        running([binary, "--inspect-port=0", tmp_path / "web.js"], env=env) as process,
        Agent(tmp_path) as agent,
        agent.stub() as stub,
    ):
        target = stub.target(process.pid)
        snapshot = stub.capture(target.id)
        stub.whole(snapshot)
        stub.Discard(agents_pb2.DiscardRequest(snapshot_id=snapshot.id))

        assert target.hooked == (way == "hook")
        expected = {"attach": common_pb2.CAPTURE_WAY_ATTACH, "hook": common_pb2.CAPTURE_WAY_HOOK}
        assert snapshot.way == expected[way]
        assert snapshot.cost.pause_millis > 0
        assert snapshot.cost.extra_memory_bytes > 0
        assert not listens(process.pid)
        assert agent.spool() == [f"{snapshot.id}.json"]


def test_a_python_process_is_captured(tmp_path, python_target):
    """The hook's snapshot comes whole, with its cost."""
    with Agent(tmp_path) as agent, agent.stub() as stub:
        target = stub.target(python_target.pid)
        snapshot = stub.capture(target.id)
        stub.whole(snapshot)

    assert target.service == "shop"
    assert snapshot.runtime == common_pb2.RUNTIME_PYTHON
    assert snapshot.cost.pause_source == common_pb2.PAUSE_SOURCE_RUNTIME


def test_a_second_prediction_rests_on_the_first_capture(tmp_path, python_target):
    """Size within 30 %; memory within a factor of two or 8 MiB, since it is sampled coarsely.

    The arithmetic's 30 % is a property of tests/agent/test_safety.py.
    """
    with Agent(tmp_path) as agent, agent.stub() as stub:
        target = stub.target(python_target.pid)
        stub.capture(target.id, "r-1")
        request = agents_pb2.CaptureRequest(request_id="r-2", target_id=target.id)
        events = list(stub.Capture(request))

    predicted = events[0].progress.preflight
    measured = events[-1].snapshot
    assert predicted.learned_from == 1
    off = abs(predicted.extra_memory_bytes - measured.cost.extra_memory_bytes)
    assert off < max(measured.cost.extra_memory_bytes, 8 << 20)
    assert 0.7 < predicted.raw_size_bytes / measured.raw_size_bytes < 1.3


@pytest.mark.parametrize("moment", ["capturing", "captured"])
def test_a_killed_agent_leaves_all_or_nothing(tmp_path, node_target, moment):
    """After kill -9 the next agent offers a whole snapshot or takes it anew; no port is open."""
    agent = Agent(tmp_path)
    with agent, agent.stub() as stub:
        assert agent.process is not None
        target = stub.target(node_target.pid)
        request = agents_pb2.CaptureRequest(request_id="r-1", target_id=target.id)
        for event in stub.Capture(request):
            if moment == "capturing" and event.progress.raw_size_bytes:
                break
        agent.process.kill()
        agent.process.wait()
    before = agent.spool()

    with Agent(tmp_path) as again, again.stub() as stub:
        wait_until(lambda: not listens(node_target.pid), what="the inspector to be shut")
        offered = [one.id for one in stub.GetAgent(agents_pb2.GetAgentRequest()).spooled]
        assert not [name for name in again.spool() if name.endswith((".part", ".new"))]
        snapshot = stub.capture(target.id)
        stub.whole(snapshot)
        assert offered == ([event.snapshot.id] if moment == "captured" else [])
        assert (snapshot.id in offered) is (moment == "captured")
        assert any(name.endswith(".part") for name in before) is (moment == "capturing")
        wait_until(lambda: not listens(node_target.pid), what="the inspector to be shut again")


def test_a_stop_while_capturing_leaves_nothing(tmp_path, node_target):
    """SIGTERM gives the capture up, shuts the inspector and removes the part file."""
    with Agent(tmp_path) as agent, agent.stub() as stub:
        target = stub.target(node_target.pid)
        call = stub.Capture(agents_pb2.CaptureRequest(request_id="r-1", target_id=target.id))
        next(event for event in call if event.progress.raw_size_bytes)
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as error:
            list(call)
        assert agent.process.wait(20) == 0
        assert agent.spool() == []
    assert from_rpc_error(error.value).code in (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
    )
    wait_until(lambda: not listens(node_target.pid), what="the inspector to be shut")


def test_a_target_that_dies_half_way_is_told(tmp_path, node_target):
    """ABORTED with TARGET_ENDED; the agent goes on."""
    with Agent(tmp_path) as agent, agent.stub() as stub:
        target = stub.target(node_target.pid)
        call = stub.Capture(agents_pb2.CaptureRequest(request_id="r-1", target_id=target.id))
        next(event for event in call if event.progress.raw_size_bytes)
        node_target.kill()
        with pytest.raises(grpc.RpcError) as error:
            list(call)
        failure = from_rpc_error(error.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, Reason.TARGET_ENDED)
        assert agent.spool() == []
        assert agent.serves()


@pytest.mark.parametrize("program", [["sleep", "600"], [sys.executable, "-c", "input()"]])
def test_what_is_not_node_is_never_signalled(tmp_path, program):
    """A process that SIGUSR1 would kill is listed with the reason, refused, and lives."""
    command = ["sh", "-c", 'sleep 600 | exec "$@"', "sh", *program]
    with running(command) as process:
        pid = child_named(process.pid, os.path.basename(program[0]))
        with Agent(tmp_path, "--pid", str(pid)) as agent, agent.stub() as stub:
            (target,) = stub.ListTargets(agents_pb2.AgentServiceListTargetsRequest()).targets
            assert target.unavailable_reason
            for way in (common_pb2.CAPTURE_WAY_UNSPECIFIED, common_pb2.CAPTURE_WAY_ATTACH):
                with pytest.raises(grpc.RpcError) as error:
                    stub.capture(target.id, way=way, force=True)
                assert from_rpc_error(error.value).reason == Reason.NO_WAY_IN
            time.sleep(0.2)
            stat = procfs.stat(f"/proc/{pid}")
            assert stat is not None and not stat.ended


def child_named(parent: int, name: str) -> int:
    """The pid of a child by its program's name."""
    found: list[int] = []

    def there() -> bool:
        for pid in procfs.pids(Path("/proc")):
            stat = procfs.stat(f"/proc/{pid}")
            exe = procfs.link(f"/proc/{pid}/exe") or ""
            if stat and stat.parent == parent and os.path.basename(exe).startswith(name):
                found.append(pid)
        return bool(found)

    wait_until(there, what=f"a child {name}")
    return found[-1]


def test_tls_is_served(tmp_path):
    """With a certificate the port speaks TLS and nothing else."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    agent = Agent(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key))
    agent.command[agent.command.index("--listen") + 1] = f"127.0.0.1:{port}"
    agent.process = subprocess.Popen(agent.command, env=agent.env, start_new_session=True)
    try:
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            grpc.channel_ready_future(channel).result(20)
            caller = Caller(agents_pb2_grpc.AgentServiceStub(channel))
            agent_message = caller.GetAgent(agents_pb2.GetAgentRequest())
        assert agent_message.address == f"127.0.0.1:{port}"
        with (
            socket.create_connection(("localhost", port)) as plain,
            ssl.create_default_context(cafile=cert).wrap_socket(
                plain, server_hostname="localhost"
            ) as tls,
        ):
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
    finally:
        stop(agent.process)


@pytest.mark.root
@pytest.mark.parametrize("shared", [True, False])
def test_a_target_in_its_own_pid_namespace_is_captured(tmp_path, shared):
    """As in a container: seen from the host under another pid, or by its hook alone."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("pid namespaces need root")
    (tmp_path / "shop.py").write_text(PLANTED_PY % 1000)
    env = {"PYTHONPATH": HOOK_PATH, "MEMWATCH_HOOK_DIR": str(tmp_path)}
    agent = Agent(tmp_path)
    if not shared:  # the agent is in a namespace of its own too, and sees nothing of the target
        agent.command = [*unshare, *agent.command]
    with (
        running([*unshare, sys.executable, tmp_path / "shop.py"], env=env),
        agent,
        agent.stub() as stub,
    ):
        found: list[Any] = []

        def there() -> bool:
            request = agents_pb2.AgentServiceListTargetsRequest()
            hooked = [one for one in stub.ListTargets(request).targets if one.hooked]
            found[:] = [one for one in hooked if "shop" in one.command or not shared]
            return bool(found)

        wait_until(there, 20, "the hooked target")
        snapshot = stub.capture(found[0].id)
        stub.whole(snapshot)
    assert snapshot.raw_size_bytes > 0
    assert (found[0].pid == 1) is not shared
