"""An agent, and a controller where a session needs one, for this command alone.

They are the same programs as everywhere, started as `python -m …` on Unix sockets in a
folder that only this user may open, driven over the same gRPC, and stopped by a guardian
whatever happens to this process; the folder goes with them.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memwatch_proto.auth import load_or_create_token
from memwatchctl.agent import Agent
from memwatchctl.client import Controller, open_channel
from memwatchctl.contexts import Connection
from memwatchctl.errors import CliError, PrivateError, TargetError
from memwatchctl.guardian import GRACE_SECONDS, Orders, Program

#: A program that does not answer by then never will: the first start compiles its modules.
START_SECONDS = 60.0

#: How long a private agent may take to find the process it was started for.
FIND_SECONDS = 15.0

#: A Unix socket's path ends here, with room for the file's own name.
MAX_SOCKET_DIR = 80

#: What is quoted of a program that did not start.
MAX_QUOTED = 300


@dataclass
class Household:
    """A guardian and the programs it keeps.

    Attributes:
        orders: what it keeps.
        environment: theirs.
        ended: the programs that have ended, with their last exit codes.
        events: all that the guardian told.
    """

    orders: Orders
    environment: Mapping[str, str]
    ended: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Household":
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "memwatchctl.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        assert self._process.stdin
        self._process.stdin.write(self.orders.to_json() + "\n")
        self._process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the guardian's input and waits until all is stopped and removed."""
        process = self._process
        assert process and process.stdin
        with contextlib.suppress(OSError):
            process.stdin.close()
        with _uninterrupted():
            try:
                process.wait(GRACE_SECONDS + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str) -> None:
        """Starts a program that was held."""
        assert self._process and self._process.stdin
        with contextlib.suppress(OSError):  # a guardian that died is told by wait_serving
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()

    def is_running(self) -> bool:
        """Whether the guardian lives."""
        return self._process is not None and self._process.poll() is None

    def _listen(self) -> None:
        """Takes in the guardian's events; runs in a thread of its own."""
        assert self._process and self._process.stdout
        for line in self._process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == "ended":
                self.ended[event["name"]] = event["code"]

    def wait_serving(self, name: str, connection: Connection) -> None:
        """Returns when the program says that it is serving.

        Raises:
            PrivateError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if is_serving(connection):
                return
            if name in self.ended:
                raise PrivateError(
                    name, self._last_words(name, f"it ended with {self.ended[name]}")
                )
            time.sleep(0.05)
        raise PrivateError(name, self._last_words(name, f"no answer in {START_SECONDS:.0f} s"))

    def _last_words(self, name: str, otherwise: str) -> str:
        """The last line of a program's log."""
        log = next((p.log for p in self.orders.programs if p.name == name), "")
        try:
            lines = Path(log).read_text(errors="replace").split("\n")[-50:] if log else []
        except OSError:
            lines = []
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][:MAX_QUOTED] if said else otherwise


def is_serving(connection: Connection) -> bool:
    """Whether gRPC health says SERVING, asked once."""
    with contextlib.closing(open_channel(connection)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)  # type: ignore[attr-defined]
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@dataclass(frozen=True)
class Folder:
    """The private folder and the addresses in it."""

    path: Path

    @property
    def agent(self) -> Connection:
        """The agent."""
        return Connection(f"unix:{self.path}/agent.sock", token_file=self.token)

    @property
    def controller(self) -> Connection:
        """The controller."""
        return Connection(f"unix:{self.path}/controller.sock", token_file=self.token)

    @property
    def token(self) -> Path:
        """The token of both."""
        return self.path / "token"


#: Makes the program that serves the folder's agent; the flag says whether a controller runs too.
AgentProgram = Callable[["Folder", bool], Program]


@contextlib.contextmanager
def agent(program: AgentProgram) -> Iterator[Agent]:
    """A private agent."""
    with _household(program, with_controller=False) as (household, folder):
        household.wait_serving("agent", folder.agent)
        with Agent(folder.agent) as client:
            yield client


@contextlib.contextmanager
def controller(program: AgentProgram, at_end: Sequence[str] = ()) -> Iterator[Controller]:
    """A private controller with one agent; `at_end` is run last, whatever happens to this."""
    with _household(program, True, at_end) as (household, folder):
        household.wait_serving("controller", folder.controller)
        household.start("agent")
        household.wait_serving("agent", folder.agent)
        with Controller(folder.controller) as client:
            yield client


def local(pids: Sequence[int]) -> AgentProgram:
    """An agent of this machine that looks at these processes only, or at all that it can see."""
    return lambda folder, with_controller: _local_agent(folder, pids, with_controller)


def check_pid(pid: int, doing: str) -> None:
    """Sees that a process exists before anything is started for it.

    Raises:
        TargetError: it does not.
    """
    if not Path(f"/proc/{pid}").exists():
        raise TargetError(f"cannot {doing} pid {pid}: there is no such process")


def wait_for_pid(client: Controller, pid: int) -> None:
    """Returns when the controller knows a process of this machine.

    Raises:
        TargetError: it does not get to know it.
    """
    from memwatch_proto.v1 import targets_pb2

    deadline = time.monotonic() + FIND_SECONDS
    while time.monotonic() < deadline:
        check_pid(pid, "capture")
        if list(client.targets(targets_pb2.TargetSelector(pid=pid), False, 1)):
            return
        time.sleep(0.1)
    raise TargetError(not_a_target(pid, "capture"))


def not_a_target(pid: int, doing: str) -> str:
    """Why a process that exists is no target."""
    return (
        f"cannot {doing} pid {pid}: it is no Node.js or CPython process that this user may see; "
        "run as its user or as root"
    )


@contextlib.contextmanager
def _household(
    program: AgentProgram, with_controller: bool, at_end: Sequence[str] = ()
) -> Iterator[tuple[Household, Folder]]:
    """Starts the programs; they and their folder are gone after the block."""
    folder = Folder(_make_folder())
    try:
        load_or_create_token(folder.token)
        programs = [program(folder, with_controller)]
        if with_controller:
            programs.insert(0, _controller_program(folder))
        orders = Orders(programs, remove=str(folder.path), at_end=at_end)
        with Household(orders, _environment()) as household:
            try:
                yield household, folder
            except CliError as error:
                raise _explained(error, household) from error
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)  # where no guardian lived to do it


def _environment() -> dict[str, str]:
    """This environment without memwatch's own settings, but for where hooks listen."""
    return {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("MEMWATCH_") or k == "MEMWATCH_HOOK_DIR"
    }


def _explained(error: CliError, household: Household) -> CliError:
    """A lost connection to a program that has died is that program's end."""
    from memwatchctl.errors import UnreachableError

    if isinstance(error, UnreachableError):
        time.sleep(0.2)  # the guardian's event may be on its way
        for name, code in household.ended.items():
            return PrivateError(name, household._last_words(name, f"it ended with {code}"))
    return error


def _make_folder() -> Path:
    """A folder for this user alone, with a path short enough for sockets.

    Raises:
        PrivateError: none can be made.
    """
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > MAX_SOCKET_DIR - 20:
        base = "/tmp"
    try:
        return Path(tempfile.mkdtemp(prefix="memwatch-", dir=base))
    except OSError as error:
        raise PrivateError(
            "agent", f"cannot make a folder in '{base}': {error.strerror}"
        ) from error


def _controller_program(folder: Folder) -> Program:
    return _program(
        "controller",
        folder,
        *("--listen", folder.controller.controller, "--http-listen", "off"),
        *("--data-dir", folder.path / "controller", "--token-file", folder.token),
    )


def _local_agent(folder: Folder, pids: Sequence[int], with_controller: bool) -> Program:
    arguments: list[object] = [
        *("--listen", folder.agent.controller, "--metrics-listen", "off"),
        *("--state-dir", folder.path / "agent", "--token-file", folder.token),
    ]
    if with_controller:
        arguments += ["--controller", folder.controller.controller]
        arguments += ["--advertise", folder.agent.controller]
    for pid in pids:
        arguments += ["--pid", pid]
    return _program("agent", folder, *arguments, held=with_controller)


def _program(name: str, folder: Folder, *arguments: object, held: bool = False) -> Program:
    module = f"memwatch_{name}"
    return Program(
        name,
        [sys.executable, "-P", "-m", module, *map(str, arguments), "--log-level", "warning"],
        str(folder.path / f"{name}.log"),
        held,
    )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts off Ctrl-C and SIGTERM for as long as the block cleans up."""
    import signal

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
