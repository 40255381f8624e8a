"""Looks at the sockets of a container from a moment's neighbour: who listens, who is connected.

The neighbour is the agent's image with one line of Python, in the container's network
namespace; it has no capability, writes nothing, and is gone at once. So it works with images
without a shell, and with engines that are far away.
"""

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from memwatchctl.engines import OWNER, ROLE, Owner
from memwatchctl.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

#: Reads /proc/net/tcp until something is so: prints what it saw last.
#: Arguments: what to wait for, seconds, ports. Local addresses 127.* and ::1 are nobody's.
_PROGRAM = """
import json, sys, time
wish, seconds, wanted = sys.argv[1], float(sys.argv[2]), set(json.loads(sys.argv[3]))
def look():
    listening, connected = set(), []
    for name in ("tcp", "tcp6"):
        try:
            rows = open("/proc/net/" + name).read().split("\\n")[1:-1]
        except OSError:
            continue
        for row in rows:
            local, _, state = row.split()[1:4]
            address, port = local.split(":")
            if address.endswith("7F") or address == "0" * 24 + "01000000":
                continue
            if state == "0A":
                listening.add(int(port, 16))
            elif state in ("01", "03", "04", "05", "08", "09"):
                connected.append(int(port, 16))
    return listening, sum(port in listening for port in connected)
end = time.monotonic() + seconds
quiet_since = None
while True:
    listening, connected = look()
    now = time.monotonic()
    quiet_since = None if connected else quiet_since or now
    drained = quiet_since is not None and now - quiet_since >= 1
    if {"look": True, "listen": wanted <= listening, "drain": drained}[wish] or now >= end:
        break
    time.sleep(0.1)
print(json.dumps([sorted(listening), connected]))
"""

#: A neighbour reads two small files.
_MEMORY_BYTES = 64 * 1024 * 1024


class Probe:
    """Asks about a container's sockets."""

    def __init__(self, client: "DockerClient", image: str) -> None:
        self._client = client
        self._image = image

    def listening(self, container: str) -> Collection[int]:
        """The ports on which a container can be called."""
        return self._look(container, "look", 0, ())[0]

    def wait_listening(self, container: str, ports: Collection[int], seconds: float) -> None:
        """Returns when a container listens on all of these ports.

        Raises:
            EngineError: it does not.
        """
        found, _ = self._look(container, "listen", seconds, ports)
        if missing := sorted(set(ports) - set(found)):
            raise EngineError(
                f"the replacement does not listen on port {', '.join(map(str, missing))} after "
                f"{seconds:.0f} s, where the original does; --ready-timeout waits longer"
            )

    def drain(self, container: str, seconds: float) -> int:
        """Waits until nobody is connected to a container; how many are after that time."""
        return self._look(container, "drain", seconds, ())[1]

    def _look(
        self, container: str, wish: str, seconds: float, ports: Collection[int]
    ) -> tuple[Collection[int], int]:
        import docker

        command = ["/opt/memwatch/bin/python", "-I", "-c", _PROGRAM]
        try:
            said = self._client.containers.run(
                self._image,
                [wish, str(seconds), json.dumps(sorted(ports))],
                entrypoint=command,
                network_mode=f"container:{container}",
                user="65532:65532",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                mem_limit=_MEMORY_BYTES,
                remove=True,
                labels={ROLE: "helper", OWNER: str(Owner.of_this_process())},
            )
        except docker.errors.ImageNotFound as error:
            raise EngineError(
                f"the engine has no image '{self._image}'; pull it, build it with 'make images', "
                "or name another with --agent-image"
            ) from error
        except docker.errors.DockerException as error:
            raise EngineError(
                f"the sockets of '{container[:40]}' cannot be seen: {error}"
            ) from error
        listening, connected = json.loads(said)
        return listening, int(connected)
