"""Findings as messages, and back."""

import math

from memwatch_controller.api.convert_snapshots import time_from_pb, time_to_pb
from memwatch_controller.finding import Finding, FindingType, Recommendation, Severity
from memwatch_proto.v1 import findings_pb2 as pb

TYPES = {
    FindingType.MEMORY_LEAK: pb.FINDING_TYPE_MEMORY_LEAK,
    FindingType.MEMORY_GROWTH: pb.FINDING_TYPE_MEMORY_GROWTH,
    FindingType.HIGH_MEMORY: pb.FINDING_TYPE_HIGH_MEMORY,
    FindingType.TYPE_GROWTH: pb.FINDING_TYPE_TYPE_GROWTH,
}
TYPES_BACK = {number: kind for kind, number in TYPES.items()}
SEVERITIES = {
    Severity.LOW: pb.FINDING_SEVERITY_LOW,
    Severity.MEDIUM: pb.FINDING_SEVERITY_MEDIUM,
    Severity.HIGH: pb.FINDING_SEVERITY_HIGH,
    Severity.CRITICAL: pb.FINDING_SEVERITY_CRITICAL,
}
SEVERITIES_BACK = {number: severity for severity, number in SEVERITIES.items()}

#: What an agent may say, in words and numbers; the rest is cut.
_MAX_TEXT = 1_000
_MAX_NUMBERS = 40
_MAX_RECOMMENDATIONS = 10


def finding_to_pb(finding: Finding, agreement: tuple[int, int]) -> pb.Finding:
    """A finding as a message, with how many replicas agree of how many."""
    return pb.Finding(
        id=finding.id,
        target_id=finding.target_id,
        type=TYPES[finding.type],
        severity=SEVERITIES[finding.severity],
        subject=finding.subject,
        since_time=time_to_pb(finding.since_time),
        first_seen_time=time_to_pb(finding.first_seen_time),
        last_seen_time=time_to_pb(finding.last_seen_time),
        end_time=time_to_pb(finding.end_time),
        evidence=finding.evidence,
        summary=finding.summary,
        recommendations=[
            pb.Recommendation(text=one.text, command=one.command) for one in finding.recommendations
        ],
        service=finding.service,
        namespace=finding.namespace,
        pod=finding.pod,
        acknowledged_by=finding.acknowledged_by,
        acknowledged_time=time_to_pb(finding.acknowledged_time),
        replicas_agreeing=agreement[0],
        replicas=agreement[1],
    )


def finding_from_pb(message: pb.Finding) -> Finding | None:
    """What an agent told; None for a type or severity that is not known here."""
    kind, severity = TYPES_BACK.get(message.type), SEVERITIES_BACK.get(message.severity)
    if kind is None or severity is None:
        return None
    numbers = sorted(message.evidence.items())[:_MAX_NUMBERS]
    return Finding(
        id=message.id,
        target_id=message.target_id,
        type=kind,
        severity=severity,
        subject=message.subject[:_MAX_TEXT],
        summary=message.summary[:_MAX_TEXT],
        since_time=time_from_pb(message.since_time),
        first_seen_time=time_from_pb(message.first_seen_time),
        last_seen_time=time_from_pb(message.last_seen_time),
        # JSON has no infinity: a time that never comes is left out.
        evidence={name[:100]: value for name, value in numbers if math.isfinite(value)},
        recommendations=tuple(
            Recommendation(one.text[:_MAX_TEXT], one.command[:_MAX_TEXT])
            for one in message.recommendations[:_MAX_RECOMMENDATIONS]
        ),
    )
