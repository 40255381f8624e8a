"""The detector over samples of targets."""

import pytest

from memwatch_agent.detection.findings import Marks
from memwatch_agent.detector import MAX_WATCHED, Detector
from memwatch_proto.v1 import common_pb2, findings_pb2, targets_pb2

MIB = 1024 * 1024
MINUTE, HOUR = 60.0, 3600.0
LEAK = findings_pb2.FINDING_TYPE_MEMORY_LEAK


def target(rss, *, id="t-1", limit=0, heap=0, service="web"):
    """A process with one sample."""
    memory = common_pb2.MemorySample(rss_bytes=int(rss), cpu_millis=0)
    if limit:
        memory.cgroup_usage_bytes, memory.cgroup_limit_bytes = int(rss), limit
    if heap:
        memory.heap_used_bytes = int(heap)
    return targets_pb2.Target(id=id, service=service, memory=memory)


class Run:
    """A detector with a clock that tests turn; the wall clock is a day ahead."""

    def __init__(self, marks=None):
        self.at = 0.0
        self.ahead = 86400.0
        clock, wall = (lambda: self.at), (lambda: self.at + self.ahead)
        self.detector = Detector(marks or Marks(memory_bytes=10**12), clock, wall)

    def hours(self, hours, targets_at):
        """A sample a minute, a look every five; what stood at each look."""
        told = []
        for _ in range(int(hours * 60)):
            self.at += MINUTE
            self.detector.take(targets_at(self.at))
            if self.at % (5 * MINUTE) == 0:
                assert all(step is None for step in self.detector.look())
                told.append(self.detector.findings())
        return told


def growing(at, rate=10 * MIB, **about):
    """100 MiB and `rate` an hour."""
    return [target(100 * MIB + rate * at / HOUR, **about)]


def test_a_leak_is_told_once_with_its_numbers():
    """One id from first to last, the rate and the time to the limit in words and numbers."""
    run = Run()
    told = run.hours(6, lambda at: growing(at, limit=400 * MIB))
    assert told[0] == []
    ids = {one.id for findings in told for one in findings if one.type == LEAK}
    assert len(ids) == 1
    [leak] = [one for one in told[-1] if one.type == LEAK]
    assert leak.evidence["bytes_per_hour"] == pytest.approx(10 * MIB, rel=0.01)
    assert leak.evidence["seconds_to_limit"] == pytest.approx(24 * HOUR, rel=0.01)
    assert leak.summary.startswith("the floor of memory grows by 10.0 MiB (")
    assert "the limit of 400.0 MiB is met in 24 h" in leak.summary
    assert leak.recommendations[0].command == "memwatchctl capture t-1 --timeframe 10"
    since, first = leak.since_time.seconds - 86400, leak.first_seen_time.seconds - 86400
    assert since < HOUR
    assert 3 * HOUR < first < 5 * HOUR
    assert leak.last_seen_time.seconds == run.at + 86400


def test_a_step_of_the_wall_clock_changes_neither_id_nor_finding():
    """Somebody sets the clock a week back: the same finding goes on standing."""
    run = Run()
    before = run.hours(6, growing)[-1]
    run.ahead -= 7 * 86400
    after = run.hours(1, growing)[-1]
    assert [one.id for one in before] == [one.id for one in after]


def test_a_leak_that_stops_is_over_after_two_hours():
    """One quiet look ends nothing; two quiet hours do."""
    run = Run()
    run.hours(6, growing)
    told = run.hours(16, lambda _: growing(6 * HOUR))
    quiet = next(number for number, findings in enumerate(told) if not findings)
    assert quiet >= 24


def test_a_process_that_ended_is_forgotten_and_its_service_remembered():
    """A worker that was replaced fills the same cache without an alarm."""
    run = Run()
    run.hours(5, lambda at: growing(at, rate=8 * MIB))
    run.hours(20, lambda _: growing(5 * HOUR, rate=8 * MIB))
    begin = run.at
    told = run.hours(5, lambda at: growing(at - begin, rate=8 * MIB, id="t-2"))
    assert not any(told)
    begin = run.at
    told = run.hours(5, lambda at: growing(at - begin, rate=8 * MIB, id="t-3", service="other"))
    assert any(told)


def test_the_heap_is_judged_against_its_own_limit():
    """RSS may stand still while the heap grows."""
    run = Run()

    def heap_grows(at):
        one = target(900 * MIB, heap=100 * MIB + 10 * MIB * at / HOUR)
        one.memory.heap_limit_bytes = 400 * MIB
        return [one]

    [leak] = run.hours(6, heap_grows)[-1]
    assert (leak.subject, leak.evidence["limit_bytes"]) == ("heap", 400 * MIB)


def test_the_ancestors_thresholds_stand_while_they_are_true():
    """A jump of a fifth is told for one look, a height for as long as it lasts."""
    run = Run(Marks())
    high = findings_pb2.FINDING_TYPE_HIGH_MEMORY
    growth = findings_pb2.FINDING_TYPE_MEMORY_GROWTH
    run.hours(0.25, lambda _: [target(90 * MIB)])
    told = run.hours(0.25, lambda _: [target(130 * MIB)])
    assert [[one.type for one in findings] for findings in told] == [[growth, high], [high], [high]]
    told = run.hours(0.5, lambda _: [target(80 * MIB)])
    assert [bool(findings) for findings in told] == [True, True, False, False, False, False]


def test_the_number_of_watched_processes_is_bounded():
    """A host with thousands of processes costs no more than the bound."""
    run = Run(Marks())
    many = [target(200 * MIB, id=f"t-{n}") for n in range(MAX_WATCHED + 50)]
    assert len(run.hours(1 / 12, lambda _: many)[-1]) == MAX_WATCHED


def test_metrics_follow_the_findings():
    """Told once, standing until it is over, and gone with its process before the next look."""
    run = Run()
    told = run.hours(6, lambda at: growing(at, limit=400 * MIB))[-1]
    metrics = run.detector.told
    assert len(told) == 1
    assert [(key.service, key.type, count) for key, count in metrics.standing.items()] == [
        ("web", "memory_leak", 1)
    ]
    assert sum(metrics.begun.values()) == 1
    assert [(of.id, found.subject) for of, found in metrics.leaks] == [("t-1", "rss")]
    assert (metrics.watched, metrics.looks) == (1, 72)

    run.detector.take([])

    assert not run.detector.told.standing
    assert sum(run.detector.told.begun.values()) == 1


def test_a_look_s_time_is_that_of_its_judging():
    """What others do between two steps is not counted."""
    run = Run()
    run.detector.take([target(MIB), target(MIB, id="t-2")])
    for _ in run.detector.look():
        run.at += 60
    assert (run.detector.told.looks, run.detector.told.look_seconds) == (1, 0)
