"""Answers an AdmissionReview (admission.k8s.io/v1): all pods are let in, some patched. Pure."""

import base64
import json
from collections.abc import Collection, Mapping
from typing import Any

from memwatch_controller.injection.parts import Settings
from memwatch_controller.injection.patch import Plan, plan
from memwatch_controller.injection.wishes import WishError, wish_of

#: Kubernetes cuts warnings at 256 characters, and all of them at 4096.
MAX_WARNING_CHARS = 250
MAX_WARNINGS = 10

#: Pods of these are never changed, whatever they ask for.
SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")


class ReviewError(ValueError):
    """A body that is no AdmissionReview; nothing can be answered to it."""


def answer(
    review: object, settings: Settings, excluded: Collection[str] = SYSTEM_NAMESPACES
) -> dict[str, Any]:
    """The AdmissionReview that answers one. A pod that cannot be patched starts as it is.

    Raises:
        ReviewError: it has no request to answer.
    """
    request = _request(review)
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    planned = _planned(request, settings, excluded)
    if planned.patch:
        packed = json.dumps(planned.patch, separators=(",", ":")).encode()
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(packed).decode("ascii")
    refused = (f"memwatch: cannot add the agent: {planned.refusal}",) if planned.refusal else ()
    if warnings := [text[:MAX_WARNING_CHARS] for text in (*refused, *planned.warnings)]:
        response["warnings"] = warnings[:MAX_WARNINGS]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _request(review: object) -> Mapping[str, Any]:
    request = review.get("request") if isinstance(review, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str):
        raise ReviewError("cannot answer: the body is no AdmissionReview with a request")
    return request


def _planned(request: Mapping[str, Any], settings: Settings, excluded: Collection[str]) -> Plan:
    """What is done to the request's pod; nothing for what is no new pod."""
    pod = request.get("object")
    kind = request.get("kind") or {}
    is_pod = isinstance(kind, Mapping) and kind.get("kind") == "Pod"
    if not (is_pod and request.get("operation") == "CREATE" and isinstance(pod, Mapping)):
        return Plan()
    if request.get("namespace") in excluded:
        return Plan()
    try:
        wish = wish_of(pod)
        return plan(pod, wish, settings) if wish else Plan()
    except WishError as error:
        return Plan(refusal=str(error))
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        # A pod that is none: the API server refuses it itself, after us.
        return Plan(refusal=f"the pod has not the form of one ({type(error).__name__})")
