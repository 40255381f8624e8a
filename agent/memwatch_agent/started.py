"""`python -m memwatch_agent.started`: the startup probe of an agent that is a native sidecar.

The service's own containers start only after it has said yes. So it says yes as soon as the agent
answers, and after `PATIENCE_SECONDS` whatever the agent does: a broken agent delays nobody's
service. Exit code 0 is yes. Standard library only, since it runs every second.
"""

import os
import socket
import sys
from collections.abc import Mapping

#: An agent answers after about a second.
PATIENCE_SECONDS = 10.0

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_START_TICKS_FIELD = 19


def main(environ: Mapping[str, str]) -> int:
    """The probe's exit code."""
    listen = environ.get("MEMWATCH_AGENT_LISTEN", "127.0.0.1:9465")
    return 0 if answers(listen) or container_seconds() > PATIENCE_SECONDS else 1


def answers(listen: str) -> bool:
    """Whether somebody listens at the agent's address."""
    if listen.startswith("unix:"):
        family, address = socket.AF_UNIX, listen.removeprefix("unix:")
        return _connects(socket.socket(family), address)
    host, _, port = listen.rpartition(":")
    loopback = "127.0.0.1" if host in ("", "0.0.0.0", "[::]") else host.strip("[]")
    family = socket.AF_INET6 if ":" in loopback else socket.AF_INET
    return port.isdigit() and _connects(socket.socket(family), (loopback, int(port)))


def _connects(connection: socket.socket, address: object) -> bool:
    with connection:
        connection.settimeout(1)
        try:
            connection.connect(address)  # type: ignore[arg-type]
        except (OSError, OverflowError):
            return False
    return True


def container_seconds() -> float:
    """How long ago the container's first process that is seen here started."""
    with open("/proc/uptime") as file:
        now = float(file.read().split()[0])
    return now - _start_ticks(own_init()) / _CLOCK_TICKS


def own_init() -> int:
    """The agent: the oldest process in this mount namespace, which the container has alone."""
    here = os.readlink("/proc/self/ns/mnt")
    found = [os.getpid()]
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/ns/mnt") == here:
                found.append(int(name))
        except OSError:
            continue  # another user's, or gone
    return min(found, key=_start_ticks)


def _start_ticks(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[_START_TICKS_FIELD])
    except OSError:
        return sys.maxsize


if __name__ == "__main__":
    sys.exit(main(os.environ))
