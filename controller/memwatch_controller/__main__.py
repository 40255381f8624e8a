"""`python -m memwatch_controller`: see --help."""

import asyncio
import os
import socket
import sys

from memwatch_controller.errors import ControllerError
from memwatch_controller.settings import parse


def main() -> int:
    """Runs a controller until SIGTERM; the exit code."""
    try:
        settings = parse(sys.argv[1:], os.environ, socket.gethostname())
        from memwatch_controller import app  # after --help: it imports everything

        return asyncio.run(app.run(settings))
    except ControllerError as error:
        print(f"memwatch-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
