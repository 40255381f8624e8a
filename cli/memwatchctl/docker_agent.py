"""An agent in a helper container beside a service's, in the place of a private agent.

Run by the guardian as `python -m memwatchctl.docker_agent ORDERS` with one JSON object (see
`Orders`). It makes the helper, joins the agent's sockets here with those inside, tells the
agent's log, and removes the helper at SIGTERM. Killed itself, the engine ends the helper's
standard input, with which the agent ends, and removes it.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from memwatchctl import engines, tunnels
from memwatchctl.errors import CliError, EngineError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

#: The interpreter of the agent's image; what else runs in it is its own business.
_TUNNEL = ("/opt/memwatch/bin/python", "-m", "memwatch_agent.tunnel")


@dataclass(frozen=True)
class Orders:
    """What is to be started.

    Attributes:
        container_id: whose neighbour the helper is.
        image: the agent's image.
        folder: the private folder, with the token and for the sockets.
        with_controller: whether a controller's socket is in the folder.
        owner: whose helper it is, as a label.
    """

    container_id: str
    image: str
    folder: str
    with_controller: bool
    owner: str

    def to_json(self) -> str:
        """One argument."""
        return json.dumps(asdict(self))


def main(arguments: Sequence[str]) -> int:
    """Keeps a helper until SIGTERM or until its agent ends; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = Orders(**json.loads(arguments[0]))
    try:
        with engines.engine() as client, _helper(client, orders) as (helper, attached):
            _open_tunnels(client, helper, orders)
            for _, said in engines.frames(attached):
                sys.stderr.buffer.write(said)
                sys.stderr.flush()
    except CliError as error:
        print(error, file=sys.stderr)  # noqa: T201
    return 1


@contextlib.contextmanager
def _helper(client: "DockerClient", orders: Orders) -> Any:
    """The helper, running, and the socket that carries its input and output; removed after."""
    import docker

    try:
        helper = _made(client, orders)
    except docker.errors.ImageNotFound as error:
        raise EngineError(
            f"the engine has no image '{orders.image}'; pull it, build it with 'make images', "
            "or name another with --agent-image"
        ) from error
    except docker.errors.APIError as error:
        raise EngineError(f"the helper container was refused: {error.explanation}") from error
    _at_sigterm(partial(engines.remove, helper))
    try:
        attached = engines.attach(helper)
        helper.start()
        yield helper, attached
    except docker.errors.APIError as error:
        raise EngineError(f"the helper container does not start: {error.explanation}") from error
    finally:
        engines.remove(helper)


def _made(client: "DockerClient", orders: Orders) -> "Container":
    target = client.containers.get(orders.container_id)
    user, folder = engines.user_of(target), Path(orders.folder)
    owner = engines.Owner.parse(orders.owner)
    assert owner, orders.owner
    made = client.containers.create(
        **engines.settings(
            orders.container_id, user, orders.image, f"unix:{folder}/agent.sock", owner
        )
    )
    engines.with_token(made, (folder / "token").read_text().strip(), user)
    return made


def _open_tunnels(client: "DockerClient", helper: "Container", orders: Orders) -> None:
    folder, helper_id = Path(orders.folder), str(helper.id)
    call = partial(engines.Exec, client, helper_id, *_TUNNEL)
    tunnels.serve(folder / "agent.sock", partial(call, "connect", engines.AGENT_SOCKET))
    if orders.with_controller:
        listen = partial(call, "listen", engines.CONTROLLER_SOCKET)
        tunnels.call_back(folder / "controller.sock", listen)


def _at_sigterm(clean_up: Any) -> None:
    """Cleans up at SIGTERM, from a thread: the main one sits in a read."""

    def stop(*_: object) -> None:
        def last() -> NoReturn:
            with contextlib.suppress(Exception):
                clean_up()
            os._exit(0)

        threading.Thread(target=last).start()

    signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
