"""`python -m memwatch_agent`: see --help."""

import asyncio
import os
import signal
import socket
import sys

_ENDS = {signal.SIGTERM, signal.SIGINT}


def main() -> int:
    """Runs an agent until SIGTERM; the exit code."""
    # Read when gRPC is imported, below: what its core would print is said in our own words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from memwatch_agent.errors import AgentError
    from memwatch_agent.settings import parse

    try:
        settings = parse(sys.argv[1:], os.environ, socket.gethostname())
        from memwatch_agent import app  # after --help, which needs none of it

        return asyncio.run(app.run(settings))
    except AgentError as error:
        stays = "--stay" in sys.argv[1:]
        if stays:  # before anybody reads that it has failed: SIGTERM would end it with a signal
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        print(f"memwatch-agent: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return _wait() if stays else 2


def _wait() -> int:
    """Does nothing until SIGTERM: a container that ends would be started again for ever."""
    signal.sigwait(_ENDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
