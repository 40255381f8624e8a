"""Small values to test the controller with."""

from typing import Any

from memwatch_controller import model


def target(id: str = "t-1", **changes: Any) -> model.Target:
    """A reachable Node target."""
    fields: dict[str, Any] = {
        "id": id,
        "agent_id": "a-1",
        "pid": 100,
        "service": "web",
        "runtime": model.Runtime.NODE,
        "ways": (model.CaptureWay.HOOK, model.CaptureWay.ATTACH),
        "last_seen_time": 1_000,
    }
    return model.Target(**{**fields, **changes})


def agent(id: str = "a-1", **changes: Any) -> model.Agent:
    """An agent on loopback."""
    fields: dict[str, Any] = {"id": id, "address": "127.0.0.1:9465", "host": "h"}
    return model.Agent(**{**fields, **changes})


def snapshot(id: str = "n-1", **changes: Any) -> model.Snapshot:
    """A stored snapshot."""
    fields: dict[str, Any] = {
        "id": id,
        "request_id": f"r-{id}",
        "target_id": "t-1",
        "session_id": "s-1",
        "phase": "before",
        "capture_time": 5_000,
        "raw_size_bytes": 10,
        "stored_size_bytes": 7,
        "memory": model.MemorySample(sample_time=4_999, rss_bytes=1 << 40),
        "cost": model.CaptureCost(pause_millis=3, pause_source=model.PauseSource.RUNTIME),
        "notes": ("a note\x00 with\nodd characters ☃",),
        "walk": model.HeapWalk("c", "clone", 9, 1 << 40, 1 << 41, 7, 99, 5),
    }
    return model.Snapshot(**{**fields, **changes})


def session(id: str = "s-1", targets: int = 1, **changes: Any) -> model.Session:
    """A session that was just created."""
    fields: dict[str, Any] = {
        "id": id,
        "request_id": f"r-{id}",
        "plan": model.SessionPlan(timeframe_millis=60_000, service="web", labels={"a": "b"}),
        "targets": tuple(
            model.SessionTarget(target=target(f"t-{number}")) for number in range(1, targets + 1)
        ),
        "create_time": 1_000,
        "update_time": 1_000,
        "version": 1,
    }
    return model.Session(**{**fields, **changes})


def report(id: str = "r-1", **changes: Any) -> model.Report:
    """A report of the session above."""
    fields: dict[str, Any] = {
        "id": id,
        "session_id": "s-1",
        "target_id": "t-1",
        "create_time": 9_000,
        "snapshot_ids": ("n-1", "n-2"),
        "summary": "nothing grew",
        "json": "{}",
    }
    return model.Report(**{**fields, **changes})
