"""The detector's settings."""

import pytest

from memwatch_agent import settings
from memwatch_agent.errors import SettingsError
from memwatch_agent.watching import Watching

OPEN = ("--insecure-no-auth",)


def parsed(*argv, **environ):
    """What an agent started so is told to watch."""
    return settings.parse((*OPEN, *argv), environ, "host").watching


def test_the_defaults_are_the_ancestors():
    """On, every 300 s, 20 %, 100 MB, 100 %."""
    found = parsed()
    assert found == Watching()
    assert (found.interval_seconds, found.marks.growth) == (300, 0.2)
    assert (found.marks.memory_bytes, found.marks.type_growth) == (100_000_000, 1.0)


def test_every_flag_has_its_twin():
    """A flag wins over the environment."""
    assert not parsed(MEMWATCH_AGENT_DETECT="off").enabled
    assert parsed("--detect", "on", MEMWATCH_AGENT_DETECT="off").enabled
    assert parsed(MEMWATCH_AGENT_DETECT_INTERVAL="60").interval_seconds == 60
    assert parsed("--growth-threshold", "0.5").marks.growth == 0.5
    assert parsed(MEMWATCH_AGENT_MEMORY_THRESHOLD="1GiB").marks.memory_bytes == 1024**3
    assert parsed("--type-growth-threshold=3").marks.type_growth == 3


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--detect", "maybe"),
        ("--detect-interval", "0.1"),
        ("--detect-interval", "soon"),
        ("--growth-threshold", "-1"),
        ("--growth-threshold", "nan"),
        ("--memory-threshold", "much"),
    ],
)
def test_what_cannot_be_used_is_named(flag, text):
    """The flag is in the sentence."""
    with pytest.raises(SettingsError, match=flag):
        parsed(flag, text)
