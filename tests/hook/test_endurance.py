"""The short version of bench/python_endurance.py: a busy service endures being captured."""

import pytest

from bench import python_endurance
from tests.hook.conftest import hook_environment

MINOR, SNAPSHOTS = "3.13", 50
OBJECTS = 20_000  # that the service keeps


def test_a_busy_service_endures_snapshots():
    """Every request is answered; no child, thread, descriptor or memory is left of a snapshot."""
    hook_environment("c")
    outcome = python_endurance.endure("gunicorn", MINOR, SNAPSHOTS, quiet_seconds=0.2)
    if outcome is None:
        pytest.skip(f"gunicorn is not installed for CPython {MINOR}: make test installs it")
    assert python_endurance.problems(outcome, SNAPSHOTS) == []
    assert outcome.loaded
    assert outcome.objects > OBJECTS
