"""The looks at the cluster's facts: rights, certificate, probes, pods without an agent. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.probes import budget_of
from memwatch_controller.cluster.rights import RIGHTS, Mode, Right
from memwatch_controller.diagnosis.checks import Check, State, check, target_name
from memwatch_controller.model import CaptureManner, Runtime, Target

#: A certificate that renews itself has a third of its 90 days left at least.
CERTIFICATE_WARN = timedelta(days=14)

#: Milliseconds that Node's event loop stands still for each MB of heap, where no child can be
#: forked: the upper end of what was measured on the Node versions in use (decision 10).
NODE_PAUSE_MILLIS_PER_MB = 110.0
_MB = 1024 * 1024

#: Modes that the controller's own account uses; the webhook's account has the others.
OWN_MODES = (Mode.LOOKUP, Mode.ATTACH, Mode.READINESS, Mode.DETACH, Mode.WATCHDOG)


def of_rights(held: Mapping[tuple[Right, str], bool], namespace: str) -> Check:
    """Which modes the controller's account can do; `held` says of each right and verb."""
    on, lacking = [], []
    for mode in OWN_MODES:
        needed = [(right, verb) for right in RIGHTS[mode] for verb in right.verbs]
        own = [pair for pair in needed if mode is Mode.LOOKUP or not _is_shared(pair)]
        if not any(held.get(pair) for pair in own):
            continue  # switched off
        on.append(mode.value)
        lacking += [
            f"{mode.value}: {verb} {right.name}"
            for right, verb in needed
            if not held.get((right, verb))
        ]
    where = f"in namespace '{namespace}'" if namespace else "in all namespaces"
    if lacking:
        message = f"the controller lacks {len(lacking)} rights {where} of modes that it has in part"
        step = "switch the mode on in the chart, or add the rules to its role"
        return check("rights", State.FAILED, message, step, lacking)
    if not on:
        message = f"the controller may not look at pods {where}"
        step = "switch modes on in the chart (modes.targets), or name a namespace: -n NAMESPACE"
        return check("rights", State.WARNING, message, step)
    return check("rights", State.OK, f"{', '.join(on)} {where}")


def _is_shared(pair: tuple[Right, str]) -> bool:
    """Whether a right is of looking up, too, and so says nothing of another mode."""
    right, verb = pair
    return any(
        right.name == one.name and verb in one.verbs for one in RIGHTS[Mode.LOOKUP]
    ) or right.name in ("endpointslices", "services", "poddisruptionbudgets")


def of_certificate(expiry: datetime, now: datetime) -> Check:
    """How long the webhook's certificate lasts."""
    left = expiry - now
    days = left.total_seconds() / 86_400
    message = f"the webhook's certificate ends in {days:.0f} days, on {expiry:%Y-%m-%d}"
    if left <= timedelta(0):
        message = f"the webhook's certificate ended on {expiry:%Y-%m-%d}: no pod gets an agent"
        return check("certificate", State.FAILED, message, _RENEW)
    if left < CERTIFICATE_WARN:
        return check("certificate", State.WARNING, message, _RENEW)
    return check("certificate", State.OK, message)


_RENEW = "see why it is not renewed: the webhook's log, or cert-manager's Certificate"


def of_probes(pods: Sequence[Pod], targets: Sequence[Target]) -> Check:
    """Whether liveness probes would have a service killed while it is captured."""
    by_name = {(pod.namespace, pod.name): pod for pod in pods}
    tight, watched = [], 0
    for target in targets:
        pod = by_name.get((target.namespace, target.pod))
        budget = budget_of(pod, target.container_id) if pod else None
        if budget is None:
            continue
        watched += 1
        pause = predicted_pause_millis(target)
        if pause > budget.sure_millis:
            told = f"{pause / 1000:.0f} s, killed after {budget}"
            tight.append(f"{target_name(target)}: {told}")
    if not watched:
        return check("probes", State.SKIPPED, "no process that is reported has a liveness probe")
    if not tight:
        return check("probes", State.OK, f"{watched} have a liveness probe that a capture fits in")
    return check(
        "probes",
        State.WARNING,
        f"{len(tight)} of {watched} would be killed by their liveness probe if they were captured "
        f"{CaptureManner.BLOCKING.value}; such captures are refused",
        "preload the hook, so that a forked child writes the snapshot, or widen the probe",
        tight,
    )


def predicted_pause_millis(target: Target) -> float:
    """How long a process would stand still at worst; Python's clone is a matter of moments."""
    used = (target.memory.heap_used_bytes or 0) if target.memory else 0
    return NODE_PAUSE_MILLIS_PER_MB * used / _MB if target.runtime is Runtime.NODE else 0


def of_injection(missing: Sequence[str], looked_at: int, excluded: Collection[str]) -> Check:
    """Whether pods that ask for the agent have it; `missing` names those that do not."""
    if missing:
        return check(
            "injection",
            State.FAILED,
            f"{len(missing)} of {looked_at} pods ask for the agent and run without it",
            "see why below; once that is mended, restart their rollout",
            missing,
        )
    message = f"no pod of {looked_at} asks for the agent and lacks it"
    left = f"; namespaces left alone: {', '.join(sorted(excluded))}" if excluded else ""
    return check("injection", State.OK, message + left)
