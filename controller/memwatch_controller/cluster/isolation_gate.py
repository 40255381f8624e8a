"""The readiness gate: who says True, and until when a False holds; pure.

A missing condition counts as False, so a pod with the gate must never depend on one program
being up. The condition tells itself how long it holds; whoever looks (the webhook, which added
the gate, and the controller) says True where it is missing or over. Decision 0056.
"""

import datetime
import re
from collections.abc import Mapping
from typing import Any

#: Type of the gate's condition.
CONDITION = "memwatch.dev/in-rotation"

#: Label of every pod that has the gate, so that they can be watched without all the others.
LABEL = "memwatch.dev/gated"

#: What asks for the gate, and its only value.
ANNOTATION, WISH = "memwatch.dev/isolate", "readiness"

_UNTIL = re.compile(r" until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$")


def has_gate(pod: Mapping[str, Any]) -> bool:
    """Whether the pod is ready only while our condition says so."""
    gates = pod["spec"].get("readinessGates") or ()
    return any(gate["conditionType"] == CONDITION for gate in gates)


def condition_of(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Our condition of a pod."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == CONDITION), None)


def needs_true(pod: Mapping[str, Any], now_millis: int) -> bool:
    """Whether a pod with the gate is kept out by nobody: nothing was said yet, or it is over."""
    if not has_gate(pod) or pod["metadata"].get("deletionTimestamp"):
        return False
    found = condition_of(pod)
    if found is None:
        return True
    return found["status"] != "True" and until_of(found) <= now_millis


def until_of(condition: Mapping[str, Any]) -> int:
    """Until when a False holds, in milliseconds since the epoch; 0 where it does not say."""
    found = _UNTIL.search(str(condition.get("message") or ""))
    if found is None:
        return 0
    try:
        when = datetime.datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return 0
    return round(when.replace(tzinfo=datetime.UTC).timestamp() * 1000)


def in_rotation(now_millis: int) -> dict[str, Any]:
    """The patch of a pod's status that lets it serve."""
    return _patch("True", "InRotation", "", now_millis)


def out_of_rotation(session_id: str, until_millis: int, now_millis: int) -> dict[str, Any]:
    """The patch of a pod's status that keeps it out until a time."""
    message = f"out of the rotation for session {session_id} until {_stamp(until_millis)}"
    return _patch("False", "Capturing", message, now_millis)


def _patch(status: str, reason: str, message: str, now_millis: int) -> dict[str, Any]:
    """A strategic merge: conditions are merged by their type, the kubelet's own are left alone."""
    condition = {
        "type": CONDITION,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": _stamp(now_millis),
    }
    return {"status": {"conditions": [condition]}}


def _stamp(millis: int) -> str:
    when = datetime.datetime.fromtimestamp(millis // 1000, datetime.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
