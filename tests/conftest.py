"""What every test folder shares: who runs beside whom, and the closing summary of skips."""

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import network

HERE = Path(__file__).parent

#: Folders whose tests meet on a shared network: Node opens its inspector on one port.
_ON_ONE_NETWORK = ("agent", "cli", "e2e", "hook_node")

_OWN_NETWORK = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)  # plugins have met their controller by then
def pytest_configure(config: pytest.Config) -> None:
    """Takes SIGINT back, which a background job of a shell ignores; leaves the shared network."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    only_leads = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    # A cluster is reached by this machine's network, and from no other.
    asks_a_cluster = bool(os.environ.get("MEMWATCH_E2E_KUBECONFIG"))
    config.stash[_OWN_NETWORK] = not (only_leads or asks_a_cluster) and network.isolate()


@pytest.fixture(autouse=True)
def _alone_on_the_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets tests that would meet on a port run one after the other, whichever workers run them.

    Groups of pytest-xdist would do, but are without effect since pytest 9.2.
    """
    folder = request.path.relative_to(HERE).parts[0]
    if request.config.stash[_OWN_NETWORK] or folder not in _ON_ONE_NETWORK:
        yield
        return
    with (Path(tempfile.gettempdir()) / f"memwatch-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names each reason for a skip once, with how many tests it cost."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        reasons[reason] = reasons.get(reason, 0) + 1
    if not reasons:
        return
    terminalreporter.section("skipped on this machine")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:4} × {reason}")
