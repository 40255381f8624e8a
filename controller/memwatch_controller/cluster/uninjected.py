"""Pods that ask for the agent and run without it. Pure."""

from collections.abc import Collection, Sequence

from memwatch_controller.cluster import attaching
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.injection.wishes import WishError, wish_of


def uninjected(pods: Sequence[Pod], excluded: Collection[str]) -> list[Pod]:
    """The running pods whose annotations ask for the agent and that lack its container.

    A wish that cannot be followed is one, too: its pod was let in without the agent.
    """
    return [
        pod
        for pod in pods
        if pod.is_running
        and pod.namespace not in excluded
        and not attaching.has_agent(pod)
        and _asks(pod)
    ]


def _asks(pod: Pod) -> bool:
    try:
        return wish_of(pod.object) is not None
    except WishError:
        return True
