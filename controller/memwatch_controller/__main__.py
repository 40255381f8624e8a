"""`python -m memwatch_controller`: see --help."""

import asyncio
import os
import socket
import sys
from uuid import uuid4

from memwatch_controller.errors import ControllerError, StartError
from memwatch_controller.settings import parse


def main() -> int:
    """Runs a controller, or with the word `worker` or `webhook` one of these, until SIGTERM."""
    if sys.argv[1:2] == ["worker"]:
        return _worker(sys.argv[2:])
    if sys.argv[1:2] == ["webhook"]:
        return _webhook(sys.argv[2:])
    try:
        settings = parse(sys.argv[1:], os.environ, socket.gethostname())
        from memwatch_controller import app  # after --help: it imports everything

        return asyncio.run(app.run(settings))
    except ControllerError as error:
        print(f"memwatch-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _worker(argv: list[str]) -> int:
    from memwatch_controller import worker_settings

    # Several may run on one host, and one that was killed has left its name behind.
    host = os.environ.get("POD_NAME", "") or socket.gethostname()
    try:
        settings = worker_settings.parse(argv, os.environ, f"{host}-worker-{uuid4().hex[:8]}")
        from memwatch_controller import worker_app

        return asyncio.run(worker_app.run(settings))
    except StartError as error:
        error.program = "worker"
        print(f"memwatch-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except ControllerError as error:
        print(f"memwatch-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _webhook(argv: list[str]) -> int:
    from memwatch_controller import webhook_settings

    try:
        settings = webhook_settings.parse(argv, os.environ)
        from memwatch_controller import webhook_app

        return asyncio.run(webhook_app.run(settings))
    except StartError as error:
        error.program = "webhook"
        print(f"memwatch-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
