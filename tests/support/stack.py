"""A real controller and a real agent in a test's folder, and memwatchctl to drive them."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memwatch_proto.auth import bearer
from memwatch_proto.v1 import sessions_pb2, sessions_pb2_grpc, targets_pb2, targets_pb2_grpc
from tests.support.processes import running, stop, wait_until, with_parent
from tests.support.runtimes import ROOT

PACKAGES = ("proto", "heap", "agent", "controller", "cli")
HOOK_PATH = f"{ROOT / 'hook' / 'bootstrap'}:{ROOT / 'hook'}"
NODE_HOOK = ROOT / "hook" / "node" / "memwatch-hook.cjs"
APPS = ROOT / "tests" / "apps"


def unique(name: str) -> str:
    """A service name that no other test on this host uses: an agent sees the whole host."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def program_env() -> dict[str, str]:
    """What lets our programs start from this tree, whatever is installed."""
    return {"PYTHONPATH": ":".join(str(ROOT / package) for package in PACKAGES)}


@dataclass
class Program:
    """One of our programs: its command line, and the process while it runs."""

    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; the log is appended to."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                with_parent(self.command),
                env={**os.environ, **program_env(), **self.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """Sends SIGKILL, and reaps it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it if it still runs."""
        if self.process is not None and self.process.poll() is None:
            stop(self.process)


class Stack:
    """A controller and one agent; `ctl` runs memwatchctl against them."""

    def __init__(
        self,
        folder: Path,
        *,
        agent_arguments: Sequence[str] = (),
        controller_arguments: Sequence[str] = (),
        agent_address: str = "",
        advertise: str = "",
    ) -> None:
        self.folder = folder
        self.data = folder / "c"
        self.state = folder / "a"
        self.hooks = folder / "h"
        self.hooks.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.address = f"unix:{folder}/c.sock"
        self.agent_address = agent_address or f"unix:{folder}/a.sock"
        self.token_file = self.data / "token"
        self.controller = Program(
            [*self._controller_command(), *controller_arguments], folder / "controller.log"
        )
        self.agent = Program(
            self._agent_command(advertise or self.agent_address, agent_arguments),
            folder / "agent.log",
        )

    def _controller_command(self) -> list[str]:
        command = [sys.executable, "-m", "memwatch_controller", "--listen", self.address]
        return [*command, "--http-listen", "off", "--data-dir", str(self.data)]

    def _agent_command(self, advertise: str, more: Sequence[str]) -> list[str]:
        command = [sys.executable, "-m", "memwatch_agent", "--listen", self.agent_address]
        command += ["--advertise", advertise, "--controller", self.address]
        command += ["--state-dir", str(self.state), "--hook-dir", str(self.hooks)]
        return [*command, "--token-file", str(self.token_file), "--metrics-listen", "off", *more]

    def start(self) -> None:
        """Starts both and waits until they serve."""
        self.start_controller()
        self.start_agent()

    def start_controller(self) -> None:
        """Starts the controller and waits until it serves."""
        self.controller.start()
        self._wait_serving(self.address, self.controller)

    def start_agent(self) -> None:
        """Starts the agent and waits until it serves."""
        self.agent.start()
        self._wait_serving(self.agent_address, self.agent)

    def stop(self) -> None:
        """Stops both."""
        self.agent.stop()
        self.controller.stop()

    def _wait_serving(self, address: str, program: Program) -> None:
        def serving() -> bool:
            assert program.process is not None
            if program.process.poll() is not None:
                raise AssertionError(f"ended at start:\n{program.log.read_text()[-3000:]}")
            with contextlib.suppress(grpc.RpcError), grpc.insecure_channel(address) as channel:
                answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]
                    health_pb2.HealthCheckRequest(), timeout=2
                )
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
            return False

        wait_until(serving, 60, f"{program.log.name} to say that it serves")

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    @contextlib.contextmanager
    def channel(self, address: str = "") -> Iterator[tuple[grpc.Channel, Any]]:
        """A channel to the controller (or to `address`) and the metadata of a call."""
        with grpc.insecure_channel(address or self.address) as channel:
            yield channel, bearer(self.token)

    def ctl(
        self, *arguments: str, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs memwatchctl against this controller."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "memwatchctl", "--controller", self.address),
                *("--token-file", str(self.token_file), *arguments),
            ],
            env={**os.environ, **program_env(), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=cwd or self.folder,
        )
        if check and done.returncode:
            raise AssertionError(f"memwatchctl {arguments}: {done.returncode}\n{done.stderr}")
        return done

    def json(self, *arguments: str) -> Any:
        """What memwatchctl prints with `-o json`."""
        return json.loads(self.ctl(*arguments, "-o", "json").stdout)

    def session(self, session_id: str) -> Any:
        """A session as JSON; asked for directly, since a memwatchctl a poll is dear."""
        with self.channel() as (channel, metadata):
            session = sessions_pb2_grpc.SessionServiceStub(channel).GetSession(
                sessions_pb2.GetSessionRequest(id=session_id), metadata=metadata, timeout=10
            )
        return MessageToDict(session, preserving_proto_field_name=True)

    def targets(self) -> list[targets_pb2.Target]:
        """The targets that the controller can reach now."""
        with self.channel() as (channel, metadata):
            answer = targets_pb2_grpc.TargetServiceStub(channel).ListTargets(
                targets_pb2.ListTargetsRequest(), metadata=metadata, timeout=10
            )
        return list(answer.targets)

    def wait_for_target(self, service: str) -> str:
        """The id of a service's reachable target, once the controller knows it."""
        found: list[str] = []

        def known() -> bool:
            found[:] = [t.id for t in self.targets() if t.service == service and t.ways]
            return bool(found)

        wait_until(known, 60, f"target of service {service}")
        return found[0]

    def wait_for_state(self, session_id: str, *states: str, seconds: float = 120) -> Any:
        """The session, once it is in one of the states (without their prefix)."""
        wanted = {f"SESSION_STATE_{state}" for state in states}
        last: dict[str, Any] = {}

        def there() -> bool:
            last.clear()
            last.update(self.session(session_id))
            return last["state"] in wanted

        wait_until(there, seconds, f"session in {states}, was {last.get('state')}")
        return last

    def leftovers(self) -> list[Path]:
        """Partial files and undiscarded spools: what must not be there when all is done."""
        inside = [*self.state.rglob("*"), *self.data.rglob("*")]
        return [p for p in inside if p.is_file() and (".part" in p.name or p.suffix == ".zst")]


@contextlib.contextmanager
def node_service(
    node: Path, port: int, *, service: str, hooks: Path | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The leaking Node.js service; with the hook where `hooks` names its directory."""
    env = {"MEMWATCH_SERVICE_NAME": service}
    if hooks:
        env |= {"NODE_OPTIONS": f"--require={NODE_HOOK}", "MEMWATCH_HOOK_DIR": str(hooks)}
    with running([node, APPS / "leaky_node.js", str(port)], env=env, log=log) as process:
        yield process


@contextlib.contextmanager
def python_service(
    python: Path, port: int, *, service: str, hooks: Path, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The leaking Python service with the hook."""
    env = {
        "MEMWATCH_SERVICE_NAME": service,
        "MEMWATCH_HOOK_DIR": str(hooks),
        "PYTHONPATH": HOOK_PATH,
    }
    with running([python, APPS / "leaky_python.py", str(port)], env=env, log=log) as process:
        yield process
