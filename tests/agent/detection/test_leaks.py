"""The trend test on labelled services."""

from dataclasses import replace

import pytest

from bench.detector.corpus import DAY, HOUR, healthy, leaking
from bench.detector.rules import Ours
from memwatch_agent.detection.leaks import leak, settled_height
from memwatch_agent.detection.series import Series

MIB = 1024 * 1024
#: What nobody could tell from a leak in its first hours.
FIRST_DAY = ("daily load, not told", "cache that fills in 5 h")
HEALTHY = [one for one in healthy() if one.name not in FIRST_DAY]
QUICK = [one for one in leaking() if "%/h" in one.name]
#: The looks of a test are rarer than the agent's: three of them make an hour more.
LOOK_SECONDS = 20 * 60.0


def alarms(service):
    """When the detector begins to tell a leak."""
    ours, told, next_look, found = Ours(), False, LOOK_SECONDS, []
    for sample in service.samples():
        ours.take(sample)
        if sample.at >= next_look:
            next_look = sample.at + LOOK_SECONDS
            sees = ours.look(sample.at)
            found += [sample.at] if sees and not told else []
            told = sees
    return found


@pytest.mark.parametrize("service", HEALTHY, ids=lambda one: one.name)
def test_nothing_is_told_of_the_healthy(service):
    """A day and a half of teeth, steps, bursts, deploys and daily load raise no alarm."""
    assert alarms(replace(service, days=1.5)) == []


@pytest.mark.parametrize("service", QUICK, ids=lambda one: one.name)
def test_leaks_are_found(service):
    """Every leak of 1 %/h and more is told, and not before it began."""
    begin = service.leaks_from or 0.0
    [first, *_] = alarms(replace(service, days=min(service.days, begin / DAY + 1)))
    assert begin < first


def test_one_percent_an_hour_is_found_within_six_hours():
    """The goal, on a quiet service, from the start of the leak, also in the middle of a life."""
    for service in leaking():
        if service.name in ("1 %/h", "1 %/h, starting on day 2"):
            begin = service.leaks_from or 0.0
            [first, *_] = alarms(replace(service, days=begin / DAY + 0.3))
            assert first - begin <= 6 * HOUR


def grown(series, hours, start, per_hour, begin=0.0):
    """Feeds a straight line, a sample a minute."""
    for minute in range(int(hours * 60)):
        at = begin + minute * 60.0
        series.add(at, start + per_hour * minute / 60)
    return begin + hours * HOUR


def test_what_a_process_before_had_settled_at_is_no_leak():
    """A cache that fills up to where it ended last time is not told again; above it, it is."""
    before = Series()
    end = grown(before, 5, 100 * MIB, 8 * MIB)
    grown(before, 20, 140 * MIB, 0, begin=end)
    ceiling = settled_height(before)
    assert ceiling == 140 * MIB
    series = Series()
    now = grown(series, 5, 100 * MIB, 8 * MIB)
    assert leak(series, now) is not None
    assert leak(series, now, ceiling) is None
    now = grown(series, 5, 140 * MIB, 8 * MIB, begin=now)
    assert leak(series, now, ceiling) is not None


def test_a_process_that_still_grows_has_not_settled():
    """A leak's own height is no excuse for the next process."""
    before = Series()
    grown(before, 24, 100 * MIB, 3 * MIB)
    assert settled_height(before) < 0
