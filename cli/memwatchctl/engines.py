"""A Docker engine: finds a service's container, and puts an agent beside it for a while.

The engine is the one of DOCKER_HOST, as for the docker command. The helper container shares the
service's pid and network namespaces, has its user and no capability, and reads no network.
"""

import contextlib
import io
import os
import re
import socket
import struct
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memwatchctl.errors import CliError, EngineError, TargetError
from memwatchctl.text import printable

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

ROLE = "dev.memwatch.role"
OWNER = "dev.memwatch.owner"
TARGET = "dev.memwatch.target"

#: Where the agent of an image keeps its state, and its ends of the tunnels.
STATE_DIR = "/var/lib/memwatch"
AGENT_SOCKET = f"{STATE_DIR}/agent.sock"
CONTROLLER_SOCKET = f"{STATE_DIR}/controller.sock"
TOKEN_FILE = f"{STATE_DIR}/token"

#: An agent idles under 60 MiB and passes any snapshot through 64 MiB; the rest is page cache.
MEMORY_BYTES = 256 * 1024 * 1024

#: The agent, its tunnels, and their threads.
MAX_PROCESSES = 256

_FRAME = struct.Struct(">BxxxL")
_ENV_USER = re.compile(r"(\d+)(?::(\d+))?")


@dataclass(frozen=True)
class Owner:
    """Which command a helper belongs to: it is abandoned once that has ended."""

    boot_id: str
    pid: int
    start_ticks: int

    @classmethod
    def of_this_process(cls) -> "Owner":
        """The owner that this process is."""
        return cls(_boot_id(), os.getpid(), _start_ticks(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """The owner of a label; None where it is none."""
        match text.split("/"):
            case [boot, pid, ticks] if pid.isdigit() and ticks.isdigit():
                return cls(boot, int(pid), int(ticks))
        return None

    def __str__(self) -> str:
        return f"{self.boot_id}/{self.pid}/{self.start_ticks}"

    def has_ended(self) -> bool:
        """Whether it ran on this boot of this host and is gone; False where nobody can tell."""
        return self.boot_id == _boot_id() and _start_ticks(self.pid) != self.start_ticks


@contextlib.contextmanager
def engine(instead_of: CliError | None = None) -> "Iterator[DockerClient]":
    """The engine of DOCKER_HOST, or of the usual socket.

    `instead_of` is why no agent that runs already could be used.

    Raises:
        TargetError: no engine answers, and neither does an agent that sees the container.
        EngineError: no engine answers.
    """
    import docker

    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client = docker.from_env()
        client.ping()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        if isinstance(instead_of, TargetError):
            raise instead_of from error
        raise EngineError(
            f"no Docker engine answers at '{printable(where)}' ({_cause(error)}); "
            "start it, or name yours with DOCKER_HOST"
        ) from error
    with contextlib.closing(client):
        yield client


def find(client: "DockerClient", named: str) -> "Container":
    """The one running container of an id prefix or a name.

    Raises:
        TargetError: there is none, or more than one, or it does not run.
    """
    found = [c for c in client.containers.list(all=True) if _is_meant(c, named)]
    running = [c for c in found if c.status == "running"]
    if len(running) == 1:
        return running[0]
    shown = ", ".join(f"{c.short_id} ({printable(c.name or '')}, {c.status})" for c in found)
    if running:
        raise TargetError(f"cannot capture '{printable(named)}': several match: {shown}")
    if found:
        raise TargetError(f"cannot capture '{printable(named)}': it does not run: {shown}")
    raise TargetError(
        f"cannot capture '{printable(named)}': the Docker engine has no such container; "
        "'docker ps' lists them"
    )


def sweep(client: "DockerClient") -> list[str]:
    """Removes helpers whose command was killed; their ids."""
    removed = []
    for container in client.containers.list(all=True, filters={"label": f"{ROLE}=helper"}):
        owner = Owner.parse(container.labels.get(OWNER, ""))
        if owner is not None and owner.has_ended():
            remove(container)
            removed.append(str(container.id))
    return removed


def remove(container: "Container") -> None:
    """Removes a helper with its volume; it may be gone already."""
    import docker

    with contextlib.suppress(docker.errors.NotFound):
        try:
            container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code != 409:  # 409: the engine removes it by itself at this moment
                raise


def user_of(container: "Container") -> str:
    """The numeric `uid:gid` that a container's first process runs as.

    Raises:
        TargetError: the engine cannot tell.
    """
    configured = _ENV_USER.fullmatch(container.attrs["Config"].get("User") or "0")
    if configured:
        return f"{configured[1]}:{configured[2] or configured[1]}"
    try:
        rows = container.top(ps_args="-eo pid,uid,gid")["Processes"]
        first = next(row for row in rows if int(row[0]) == container.attrs["State"]["Pid"])
    except (KeyError, StopIteration, ValueError) as error:
        raise TargetError(
            f"cannot capture container {container.short_id}: "
            "the engine does not tell which user it runs as"
        ) from error
    return f"{first[1]}:{first[2]}"


def settings(
    target_id: str, user: str, image: str, advertise: str, owner: Owner
) -> Mapping[str, Any]:
    """What the helper container is made with; `advertise` is where its agent is reached. Pure."""
    return {
        "image": image,
        "command": _command(advertise),
        "user": user,
        "pid_mode": f"container:{target_id}",
        "network_mode": f"container:{target_id}",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "volumes": [STATE_DIR],
        "mem_limit": MEMORY_BYTES,
        "pids_limit": MAX_PROCESSES,
        "auto_remove": True,
        # With its standard input, which the engine ends when this command does, the agent ends.
        "stdin_open": True,
        "labels": {ROLE: "helper", OWNER: str(owner), TARGET: target_id},
    }


def _command(advertise: str) -> Sequence[str]:
    return (
        *("--listen", f"unix:{AGENT_SOCKET}", "--advertise", advertise),
        *("--controller", f"unix:{CONTROLLER_SOCKET}", "--state-dir", f"{STATE_DIR}/agent"),
        *("--token-file", TOKEN_FILE, "--metrics-listen", "off", "--end-with-input"),
        *("--log-level", "warning"),
    )


def with_token(container: "Container", token: str, user: str) -> None:
    """Puts the token into a helper that was made, readable for its user alone."""
    uid, _, gid = user.partition(":")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(os.path.basename(TOKEN_FILE))
        entry.size, entry.mode = len(token), 0o400
        entry.uid, entry.gid = int(uid), int(gid or uid)
        archive.addfile(entry, io.BytesIO(token.encode()))
    container.put_archive(STATE_DIR, packed.getvalue())


class Exec:
    """A command that runs in a container, as a stream; its errors go to this standard error."""

    def __init__(self, client: "DockerClient", container_id: str, *command: str) -> None:
        """Starts it.

        Raises:
            OSError: the engine refused.
        """
        import docker

        try:
            made = client.api.exec_create(container_id, list(command), stdin=True)
            self._socket = _raw(client.api.exec_start(made["Id"], socket=True))
        except docker.errors.APIError as error:
            raise OSError(_cause(error)) from error
        self._frames = frames(self._socket)

    def read(self) -> bytes:
        """The next bytes of its output; empty at its end."""
        return next((data for stream, data in self._frames if stream == 1), b"")

    def write(self, data: bytes) -> None:
        """Sends bytes to its input."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Leaves it: its input ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """What an engine sends of a command: (1 output or 2 error, bytes), by its attach protocol."""
    with connection.makefile("rb") as file:
        while len(header := file.read(_FRAME.size)) == _FRAME.size:
            stream, left = _FRAME.unpack(header)
            while left:
                data = file.read1(left)
                if not data:
                    return
                left -= len(data)
                yield stream, data


def attach(container: "Container") -> socket.socket:
    """The socket that carries a container's standard input, output and error."""
    parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    return _raw(container.attach_socket(params=parameters))


def _raw(answered: Any) -> socket.socket:
    """The socket below what the docker package hands out."""
    raw: socket.socket = getattr(answered, "_sock", answered)
    return raw


def _is_meant(container: "Container", named: str) -> bool:
    if container.labels.get(ROLE) == "helper":
        return False
    return str(container.id).startswith(named.lower()) or container.name == named


def _cause(error: Exception) -> str:
    """The innermost words of a library's error, on one line."""
    explanation = getattr(error, "explanation", None)
    return printable(" ".join(str(explanation or error).split()))[:300]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
