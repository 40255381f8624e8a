"""Which pods ask for the agent and do not have it, and why: judged from the pod alone. Pure.

The webhook fails open, so a pod may start without the agent and nobody notices. Whoever reads
pods (`cluster/`) judges each by this; `memwatch_injection_missing` counts those that lack it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from memwatch_controller.injection.patch import has_agent, obstacle
from memwatch_controller.injection.reviews import SYSTEM_NAMESPACES
from memwatch_controller.injection.wishes import INJECT, WishError, wish_of

_ENDED = ("Succeeded", "Failed")


class State(StrEnum):
    """How a pod stands to the agent.

    Attributes:
        NOT_ASKED: it does not want it, or has ended.
        PRESENT: it has it.
        MISSING: it should have it: the webhook was away or not there yet when it was made.
        REFUSED: it asks for what cannot be; its annotations or its spec have to change.
        EXCLUDED: its namespace is left alone by the administrator.
    """

    NOT_ASKED = "not_asked"
    PRESENT = "present"
    MISSING = "missing"
    REFUSED = "refused"
    EXCLUDED = "excluded"


@dataclass(frozen=True)
class Verdict:
    """How a pod stands to the agent; `why` is a clause with the next step where it has none."""

    state: State
    why: str = ""


def judge(pod: Mapping[str, Any], excluded: Collection[str] = SYSTEM_NAMESPACES) -> Verdict:
    """How a pod stands to the agent.

    Args:
        pod: as the API server has it.
        excluded: namespaces that the webhook leaves alone.
    """
    about, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    if has_agent(spec):
        return Verdict(State.PRESENT)
    if about.get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in _ENDED:
        return Verdict(State.NOT_ASKED)
    try:
        wish = wish_of(pod)
    except WishError as error:
        return Verdict(State.REFUSED, str(error))
    if wish is None:
        return Verdict(State.NOT_ASKED)
    if about.get("namespace") in excluded:
        return Verdict(State.EXCLUDED, f"namespace {about['namespace']} is left alone")
    if why := obstacle(pod, wish):
        return Verdict(State.REFUSED, why)
    return Verdict(State.MISSING, _missing(about))


def _missing(about: Mapping[str, Any]) -> str:
    """Why a pod that could have the agent has none, as far as it can be told from the pod."""
    owners = [owner.get("kind") for owner in about.get("ownerReferences") or []]
    again = "make it anew" if not owners else "restart its rollout"
    return f"it was made while no webhook answered, or got {INJECT} later; {again}"
