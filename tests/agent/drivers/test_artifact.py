"""`drivers/artifact.py`: a whole snapshot is told from a piece of one."""

import pytest

from memwatch_agent.drivers.artifact import Artifact, Throttled
from memwatch_agent.drivers.base import Progress, Stage
from tests.agent.drivers.apps import Collected


@pytest.mark.parametrize(
    ("parts", "complete"),
    [
        ([b"{}"], True),
        ([b"{", b"}"], True),
        ([b'{"a":1}\n'], True),
        ([b"{", b"", b"x" * 100, b"}", b"\n", b"\n"], True),
        ([], False),
        ([b""], False),
        ([b"{"], False),
        ([b"x}"], False),
        ([b'{"a":1', b",2"], False),
    ],
)
async def test_completeness(parts, complete):
    """It begins and ends like a JSON object, however it is cut."""
    sink = Collected()
    artifact = Artifact(sink.take)
    for part in parts:
        await artifact.take(part)

    assert artifact.complete is complete
    assert sink.data == b"".join(parts)
    assert artifact.size_bytes == len(sink.data)


def test_progress_is_passed_on_a_few_times_a_second():
    """A thousand events at once are one report."""
    reports: list[Progress] = []
    throttled = Throttled(reports.append)
    for done in range(1000):
        throttled.report(Progress(Stage.CAPTURING, done, 1000))

    assert reports == [Progress(Stage.CAPTURING, 0, 1000)]
