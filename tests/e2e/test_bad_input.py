"""Bad input, end to end: each a one-line error that names the thing and the next step."""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import grpc
import pytest

from memwatch_proto.status import from_rpc_error
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, snapshots_pb2, snapshots_pb2_grpc
from tests.e2e.conftest import get
from tests.e2e.test_capture import answers
from tests.support import runtimes
from tests.support.processes import free_port, wait_until
from tests.support.stack import Stack, node_service, unique

pytestmark = pytest.mark.e2e

NOT_FOUND, REFUSED, UNAUTHENTICATED = 3, 4, 6


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error, checked for form."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("cannot "), lines[0]
    assert done.stdout == ""
    return lines[0]


@contextlib.contextmanager
def node(service: str) -> Iterator[tuple[int, int]]:
    """A leaking Node.js service: pid and port."""
    binary, port = runtimes.any_node(), free_port()
    if binary is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    with node_service(binary, port, service=service) as process:
        wait_until(lambda: answers(port))
        yield process.pid, port


def test_unknown_target(shared_stack: Stack) -> None:
    """A target nobody knows is named, with the command that lists them."""
    stack = shared_stack
    done = stack.ctl("capture", "nosuch", "--timeframe", "1s", check=False)

    assert done.returncode == NOT_FOUND
    assert "'nosuch'" in one_line(done)
    assert "memwatchctl targets list" in done.stderr


def test_two_matches(shared_stack: Stack) -> None:
    """A word that fits two targets is refused, with both of them named."""
    stack = shared_stack
    twin = unique("twin")
    with node(twin), node(twin):
        wait_until(lambda: len([t for t in stack.targets() if t.service == twin]) == 2)
        ids = [t.id for t in stack.targets() if t.service == twin]
        done = stack.ctl("capture", twin, "--timeframe", "1s", check=False)

        assert done.returncode == NOT_FOUND
        assert all(target_id in one_line(done) for target_id in ids)


def test_dead_target(shared_stack: Stack) -> None:
    """A target whose process has ended is refused, by name."""
    stack = shared_stack
    name = unique("mortal")
    with node(name):
        target_id = stack.wait_for_target(name)
    wait_until(
        lambda: stack.json("targets", "get", target_id).get("state") == "TARGET_STATE_GONE", 30
    )
    done = stack.ctl("capture", target_id, "--timeframe", "1s", check=False)

    assert done.returncode == NOT_FOUND
    assert target_id in one_line(done)


def test_wrong_token(shared_stack: Stack, folder: Path) -> None:
    """A wrong token is told from a missing controller."""
    stack = shared_stack
    wrong = folder / "wrong"
    wrong.write_text("wrong\n")
    done = stack.ctl("--token-file", str(wrong), "targets", "list", check=False)

    assert done.returncode == UNAUTHENTICATED
    assert "token" in one_line(done)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\nb", "a/b", "..", "x" * 300])
@pytest.mark.parametrize("noun", ["sessions", "snapshots", "reports"])
def test_hostile_ids(shared_stack: Stack, noun: str, name: str) -> None:
    """An id that is a path, holds a newline or is endless is refused before it meets a file."""
    stack = shared_stack
    done = stack.ctl(noun, "get", name, check=False)

    assert done.returncode in (2, NOT_FOUND)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 400


def upload(
    stack: Stack, data: bytes, *, size: int | None = None, sha256: str = "", name: str = "a"
) -> snapshots_pb2.Snapshot:
    """Uploads plain bytes, announced as the caller says."""
    header = snapshots_pb2.UploadHeader(
        request_id=os.urandom(8).hex(),
        file_name=name,
        size_bytes=len(data) if size is None else size,
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        session_id="s-upload",
        phase="before",
    )
    chunk = snapshots_pb2.Chunk(data=data, crc32c=google_crc32c.value(data))
    parts = [
        snapshots_pb2.UploadSnapshotRequest(header=header),
        snapshots_pb2.UploadSnapshotRequest(chunk=chunk),
    ]
    with stack.channel() as (channel, metadata):
        stub = snapshots_pb2_grpc.SnapshotServiceStub(channel)
        return stub.UploadSnapshot(iter(parts), metadata=metadata, timeout=20)


HEAP = b'{"snapshot":{},"nodes":[],"edges":[],"strings":[]}'


@pytest.mark.parametrize(
    "lie", [{"size": 10_000}, {"size": 3}, {"sha256": "0" * 64}, {"size": 10**15}]
)
def test_lying_upload(shared_stack: Stack, lie: dict[str, object]) -> None:
    """An upload that lies about its length or digest is refused, and nothing of it is kept."""
    stack = shared_stack
    with pytest.raises(grpc.RpcError) as caught:
        upload(stack, HEAP, **lie)  # type: ignore[arg-type]

    failure = from_rpc_error(caught.value)
    assert failure.code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
    assert failure.message.startswith("cannot ")
    assert stack.json("snapshots", "list").get("snapshots", []) == []
    assert not [p for p in stack.leftovers() if p.is_file()]


@pytest.mark.parametrize("name", ["../../evil", "a\nb", "/etc/passwd", "a\x1b[31m"])
def test_hostile_file_name(shared_stack: Stack, name: str) -> None:
    """A file name with a path or a control character in it is refused, by field."""
    with pytest.raises(grpc.RpcError) as caught:
        upload(shared_stack, HEAP, name=name)

    failure = from_rpc_error(caught.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "file_name" in failure.message


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root (mount -t tmpfs)")
    mount = folder / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def failed_capture(stack: Stack) -> str:
    """A capture that must fail: its one-line error."""
    name = unique("web")
    with node(name) as (pid, port):
        get(port, "/leak?n=100000")
        stack.wait_for_target(name)
        done = stack.ctl("capture", name, "--timeframe", "1s", check=False)

        assert done.returncode not in (0, 2)
        os.kill(pid, 0)
        assert answers(port)
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("cannot ")
    assert "Traceback" not in done.stderr
    return error


def files_in(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > 100_000]


@pytest.mark.root
def test_full_spool(folder: Path, small_disk: Path) -> None:
    """A spool that runs full fails the capture by name, keeps nothing, and the app lives."""
    stack = Stack(folder)
    stack.state.symlink_to(small_disk)
    try:
        stack.start()
        error = failed_capture(stack)

        assert "capturing_before" in error or "before" in error
        assert "spool" in error
        assert files_in(small_disk) == []
    finally:
        stack.stop()


@pytest.mark.root
def test_full_store(folder: Path, small_disk: Path) -> None:
    """A store that runs full fails the session by name, and the agent still holds the snapshot."""
    stack = Stack(folder, controller_arguments=["--blob-url", f"file://{small_disk}"])
    try:
        stack.start()
        error = failed_capture(stack)

        assert "store" in error
        assert files_in(small_disk) == []
        with stack.channel(stack.agent_address) as (channel, metadata):
            agent = agents_pb2_grpc.AgentServiceStub(channel).GetAgent(
                agents_pb2.GetAgentRequest(), metadata=metadata, timeout=10
            )
        assert len(agent.spooled) == 1
    finally:
        stack.stop()
