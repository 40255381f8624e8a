"""Findings in SQL, on SQLite and on PostgreSQL."""

from dataclasses import replace

from memwatch_controller.finding import Finding, FindingType, Recommendation, Severity
from memwatch_controller.store.findings import FindingTable


def finding(id="f-1", **changes):
    """A leak that was told at 1,000."""
    fields = {
        "id": id,
        "target_id": "t-1",
        "type": FindingType.MEMORY_LEAK,
        "severity": Severity.MEDIUM,
        "subject": "rss",
        "summary": "the floor of memory grows\u2028 by 1 MiB an hour",
        "since_time": 500,
        "first_seen_time": 1_000,
        "last_seen_time": 2_000,
        "evidence": {"bytes_per_hour": 1.5e300, "z": 4.0},
        "recommendations": (Recommendation("look", "memwatchctl leaks get f-1"),),
        "agent_id": "a-1",
        "service": "web",
    }
    return Finding(**{**fields, **changes})


async def test_what_is_saved_is_read(database):
    """Every field comes back; saving again replaces the row."""
    table = FindingTable(database)
    await table.save([finding()])
    assert await table.get("f-1") == finding()
    over = replace(finding(), end_time=9_000, acknowledged_by="ann")
    await table.save([over])
    assert await table.get("f-1") == over
    assert await table.get("f-2") is None
    assert await table.standing() == []


async def test_lists_are_the_worst_first_and_go_on(database):
    """By severity, then the newest; pages neither repeat nor leave out."""
    table = FindingTable(database)
    many = [
        finding(f"f-{n}", severity=Severity(1 + n % 4), first_seen_time=1_000 + n)
        for n in range(20)
    ]
    await table.save(many)
    expected = sorted(many, key=lambda one: (one.severity, one.first_seen_time), reverse=True)
    listed, after = [], None
    while page := await table.list(limit=7, after=after):
        listed += page
        after = (page[-1].rank, page[-1].id)
    assert [one.id for one in listed] == [one.id for one in expected]


async def test_lists_are_narrowed(database):
    """By targets, type, severity, and whether it is over or known."""
    table = FindingTable(database)
    await table.save(
        [
            finding("f-1"),
            finding("f-2", target_id="t-2", severity=Severity.CRITICAL),
            finding("f-3", type=FindingType.HIGH_MEMORY, severity=Severity.LOW),
            finding("f-4", end_time=7_000),
            finding("f-5", acknowledged_by="ann"),
        ]
    )

    async def ids(**wanted):
        return sorted(one.id for one in await table.list(limit=9, **wanted))

    assert await ids() == ["f-1", "f-2", "f-3", "f-5"]
    assert await ids(target_ids=["t-2"]) == ["f-2"]
    assert await ids(target_ids=[]) == []
    assert await ids(kind=FindingType.HIGH_MEMORY) == ["f-3"]
    assert await ids(min_severity=Severity.HIGH) == ["f-2"]
    assert await ids(include_over=True, target_ids=["t-1"]) == ["f-1", "f-3", "f-4", "f-5"]
    assert await ids(unacknowledged_only=True) == ["f-1", "f-2", "f-3"]


async def test_old_ones_are_forgotten(database):
    """Only what was over before the time."""
    table = FindingTable(database)
    await table.save([finding("f-1"), finding("f-2", end_time=10), finding("f-3", end_time=20)])
    assert await table.forget(20) == 1
    left = await table.list(limit=9, include_over=True)
    assert sorted(one.id for one in left) == ["f-1", "f-3"]
