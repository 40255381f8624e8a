"""A real agent in a folder, and a hook that streams as many bytes as a bench wants."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from memwatch_agent import procfs
from memwatch_agent.drivers import hookwire
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc
from tests.support.processes import running, wait_until
from tests.support.stack import program_env

MIB = 1024 * 1024


@contextlib.contextmanager
def agent(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """An agent process and a stub of its calls, on a Unix socket unless `--listen` is given."""
    address = f"unix:{folder}/a.sock"
    if "--listen" in arguments:
        address = arguments[arguments.index("--listen") + 1]
    command = [sys.executable, "-m", "memwatch_agent", "--listen", address]
    command += ["--state-dir", str(folder / "state"), "--hook-dir", str(folder)]
    command += ["--insecure-no-auth", "--metrics-listen", f"unix:{folder}/m.sock", *arguments]
    with (
        running(command, env=program_env(), log=folder / "agent.log") as process,
        grpc.insecure_channel(address) as channel,
    ):
        stub: Any = agents_pb2_grpc.AgentServiceStub(channel)
        wait_until(lambda: _answers(stub, process), 30, "the agent to serve")
        yield process, stub


def _answers(stub: Any, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise SystemExit("the agent ended at its start")
    with contextlib.suppress(grpc.RpcError):
        stub.GetAgent(agents_pb2.GetAgentRequest(), timeout=2)
        return True
    return False


def target(stub: Any, pid: int) -> Any:
    """The target of a pid, once the agent lists it with a way in."""
    found: list[Any] = []

    def there() -> bool:
        targets = stub.ListTargets(agents_pb2.AgentServiceListTargetsRequest()).targets
        found[:] = [one for one in targets if one.pid == pid and one.ways]
        return bool(found)

    wait_until(there, 30, f"a way into process {pid}")
    return found[0]


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    stat = procfs.stat(f"/proc/{pid}")
    return stat.rss_bytes if stat else 0


def serve_hook(folder: Path, size_bytes: int) -> None:
    """Serves the hook wire in this process; its snapshot is random text of `size_bytes`."""
    stat = procfs.stat("/proc/self")
    assert stat is not None
    pid = os.getpid()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / f"python-{pid}-{stat.start_ticks}.sock"))
    server.listen()
    hello = {
        "protocol": 1,
        "hook_version": "0.1.0",
        "runtime": "python",
        "runtime_version": "3.11.7",
        "pid": pid,
        "start_ticks": stat.start_ticks,
        "service": "bench",
        "commands": ["info", "stats", "gc", "heap"],
    }
    print("up", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_talk, args=(connection, hello, size_bytes), daemon=True).start()


def _talk(connection: socket.socket, hello: dict[str, Any], size_bytes: int) -> None:
    """One connection: HELLO, then the answer to each request."""
    with contextlib.suppress(OSError), connection:
        connection.sendall(hookwire.json_frame(hookwire.FrameType.HELLO, hello))
        reader = hookwire.FrameReader()
        while data := connection.recv(65_536):
            for _, payload in reader.feed(data):
                fields = hookwire.json.loads(payload) if payload else {}
                result = {}
                if fields.get("command") == "heap":
                    result = _send_heap(connection, size_bytes)
                answer = {"id": fields.get("id", 0), "result": result}
                connection.sendall(hookwire.json_frame(hookwire.FrameType.RESULT, answer))


def _send_heap(connection: socket.socket, size_bytes: int) -> dict[str, Any]:
    left, first = size_bytes, b"{"
    while left:
        size = min(left, 512 * 1024)
        data = (first + secrets.token_bytes(size))[:size]
        left -= size
        if not left:
            data = data[:-1] + b"}"
        connection.sendall(hookwire.frame(hookwire.FrameType.DATA, data))
        first = b""
    return {"size_bytes": size_bytes, "pause_millis": 1.0, "notes": []}


if __name__ == "__main__":
    serve_hook(Path(sys.argv[1]), int(sys.argv[2]))
