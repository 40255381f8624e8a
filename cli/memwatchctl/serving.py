"""A controller and an agent of this machine under one guardian, until Ctrl-C."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memwatch_proto.auth import load_or_create_token
from memwatchctl import app, contexts
from memwatchctl.contexts import Connection
from memwatchctl.errors import CliError, FileError, PrivateError, Terminated
from memwatchctl.guardian import Orders, Program
from memwatchctl.output import Output
from memwatchctl.private import Household


@dataclass(frozen=True)
class Plan:
    """What the flags of `serve` said."""

    listen: str
    http_listen: str
    agent_listen: str
    metrics_listen: str
    data_dir: Path | None
    state_dir: Path | None
    hook_dir: str | None
    pids: tuple[int, ...]
    log_level: str
    token_file: Path | None

    @property
    def data(self) -> Path:
        """The controller's data."""
        return (self.data_dir or contexts.local_data_dir()).absolute()

    @property
    def state(self) -> Path:
        """The agent's state."""
        return (self.state_dir or self.data.parent / "agent").absolute()

    @property
    def token(self) -> Path:
        """The token of both."""
        return (self.token_file or self.data / "token").absolute()

    def programs(self) -> list[Program]:
        """What is run, the controller first."""
        controller: list[object] = [
            *("--listen", self.listen, "--http-listen", self.http_listen),
            *("--data-dir", self.data),
        ]
        agent: list[object] = [
            *("--listen", self.agent_listen, "--metrics-listen", self.metrics_listen),
            *("--controller", self.listen, "--advertise", self.agent_listen),
            *("--state-dir", self.state),
        ]
        if self.hook_dir:
            agent += ["--hook-dir", self.hook_dir]
        for pid in self.pids:
            agent += ["--pid", pid]
        return [self._program("controller", controller), self._program("agent", agent, True)]

    def _program(self, name: str, arguments: list[object], held: bool = False) -> Program:
        shared = ["--token-file", self.token, "--log-level", self.log_level]
        command = [sys.executable, "-P", "-m", f"memwatch_{name}", *map(str, arguments + shared)]
        return Program(name, command, held=held)


def serve(plan: Plan, out: Output) -> None:
    """Runs both until Ctrl-C.

    Raises:
        PrivateError: one of them does not start, or the guardian was killed.
        FileError: the data directory cannot be made.
        CliError: something else listens at one of the addresses.
    """
    for address in (plan.listen, plan.http_listen, plan.agent_listen, plan.metrics_listen):
        _check_free(address)
    _make_folders(plan)
    with Household(Orders(plan.programs(), restart=True), _environment()) as household:
        household.wait_serving("controller", Connection(plan.listen))
        household.start("agent")
        household.wait_serving("agent", Connection(plan.agent_listen))
        _announce(plan, out)
        try:
            for event in _events(household):
                _tell(event)
        except (KeyboardInterrupt, Terminated):
            app.note("stopping the agent and the controller")
            return
    raise PrivateError("controller and agent", "their guardian was killed, and they with it")


def _check_free(address: str) -> None:
    """Sees that nobody listens at an address yet: a second server would answer for the first.

    Raises:
        CliError: somebody does.
    """
    family, where = _socket_address(address)
    if family is None:
        return
    with socket.socket(family) as probe:
        probe.settimeout(2)
        if probe.connect_ex(where) == 0:
            raise CliError(
                f"cannot serve at '{address}': something listens there already; "
                "stop it, or choose another address (see 'memwatchctl serve --help')"
            )


def _socket_address(address: str) -> tuple[socket.AddressFamily | None, Any]:
    """An address as the socket module wants it; no family where there is nothing to probe."""
    if address.startswith("unix:"):
        return socket.AF_UNIX, address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        return None, ""
    host = host.strip("[]")
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
    host = wildcard.get(host, host)
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))


def _make_folders(plan: Plan) -> None:
    try:
        for folder in (plan.data, plan.state, plan.token.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        load_or_create_token(plan.token)
    except (OSError, ValueError) as error:
        path = getattr(error, "filename", None) or plan.data
        raise FileError("make", path, error) from error


def _environment() -> dict[str, str]:
    """This environment without what would speak against the one token file."""
    return {
        k: v for k, v in os.environ.items() if k not in ("MEMWATCH_TOKEN", "MEMWATCH_TOKEN_FILE")
    }


def _announce(plan: Plan, out: Output) -> None:
    facts = {
        "controller": plan.listen,
        "http": "" if plan.http_listen == "off" else plan.http_listen,
        "agent": plan.agent_listen,
        "metrics": "" if plan.metrics_listen == "off" else plan.metrics_listen,
        "token_file": str(plan.token),
        "data_dir": str(plan.data),
    }
    if not out.is_table:
        out.event(facts)
        return
    http, metrics = facts["http"], facts["metrics"]
    out.pairs(
        [
            ("Controller", facts["controller"]),
            ("HTTP API", http if http.startswith("unix:") or not http else f"http://{http}"),
            ("Agent", facts["agent"]),
            ("Metrics", f"http://{metrics}/metrics" if metrics else ""),
            ("Token file", facts["token_file"]),
            ("Data", facts["data_dir"]),
        ]
    )
    out.line("'memwatchctl targets list' shows what can be captured; Ctrl-C stops both")
    out.flush()


def _events(household: Household) -> Iterator[dict[str, Any]]:
    """The guardian's events as they come, after those of the start."""
    seen = len(household.events)
    while household.is_running():
        yield from household.events[seen:]
        seen = len(household.events)
        time.sleep(0.2)


def _tell(event: dict[str, Any]) -> None:
    if event["event"] == "ended":
        app.note(
            f"the {event['name']} ended with {event['code']}; "
            f"starting it again in {event['again_in']:g} s"
        )
    else:
        app.note(f"the {event['name']} is started again, pid {event['pid']}")
