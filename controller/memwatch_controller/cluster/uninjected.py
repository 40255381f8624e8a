"""Pods that ask for the agent and run without it, each with the reason. Pure."""

from collections.abc import Collection, Sequence

from memwatch_controller.cluster import attaching
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.injection.watchdog import State, judge

#: A wish that cannot be followed is one, too: its pod was let in without the agent.
_LACKING = (State.MISSING, State.REFUSED)


def uninjected(pods: Sequence[Pod], excluded: Collection[str]) -> dict[str, str]:
    """By `namespace/name`: why a running pod lacks the agent that it asks for."""
    found = {}
    for pod in pods:
        verdict = judge(pod.object, excluded)
        if verdict.state in _LACKING and pod.is_running and not attaching.has_agent(pod):
            found[f"{pod.namespace}/{pod.name}"] = verdict.why
    return found
