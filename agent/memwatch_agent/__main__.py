"""`python -m memwatch_agent`: see --help."""

import asyncio
import os
import socket
import sys

from memwatch_agent.errors import AgentError
from memwatch_agent.settings import parse


def main() -> int:
    """Runs an agent until SIGTERM; the exit code."""
    try:
        settings = parse(sys.argv[1:], os.environ, socket.gethostname())
        from memwatch_agent import app  # after --help: it imports grpc

        return asyncio.run(app.run(settings))
    except AgentError as error:
        print(f"memwatch-agent: {error}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
