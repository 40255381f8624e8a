"""What every test folder shares: who runs beside whom, and the closing summary of skips."""

import signal
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: Folders whose tests meet on the host: Node opens its inspector on one port, and an agent sees
#: every process. They run one after the other, beside the rest.
_ON_THE_HOST = ("agent", "cli", "e2e", "hook_node")

#: Folders below them whose services live in network namespaces of their own.
_ELSEWHERE = (("e2e", "docker"),)


def pytest_configure() -> None:
    """Takes SIGINT back: a background job of a shell ignores it, and its children would too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the tests of a file together, and all that meet on the host on one worker."""
    for item in items:
        parts = item.path.relative_to(HERE).parts
        on_the_host = parts[0] in _ON_THE_HOST and parts[:2] not in _ELSEWHERE
        group = "host" if on_the_host else "/".join(parts)
        item.add_marker(pytest.mark.xdist_group(group))


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
