"""What an API server's answer means: its errors as named facts. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from memwatch_controller.cluster import errors
from memwatch_controller.cluster.resources import Resource

#: An object of the API, as JSON has it.
Object = dict[str, Any]

#: The API server's sentence is cut here: an admission webhook may answer with a page.
MAX_CAUSE_CHARS = 500

#: A pause that the server asks for is kept up to this; it is data from outside.
MAX_RETRY_AFTER_SECONDS = 3600.0

_WORDS = {
    "get": "read",
    "list": "list",
    "watch": "watch",
    "create": "create",
    "update": "change",
    "patch": "change",
    "delete": "delete",
}


@dataclass(frozen=True)
class Deed:
    """What a call is for, in the words of roles: they are what an error has to name."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def right(self) -> str:
        """The resource as roles have it: `pods`, or `pods/eviction`."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural

    def __str__(self) -> str:
        what = f"{self.right} '{self.name}'" if self.name else self.right
        where = f" in namespace '{self.namespace}'" if self.namespace else ""
        return f"{_WORDS.get(self.verb, self.verb)} {what}{where}"


@dataclass(frozen=True)
class Refusal:
    """An answer that is none of the 200s.

    Attributes:
        code: the HTTP status.
        reason: Kubernetes' word, such as `AlreadyExists`; empty where it says none.
        message: its sentence.
        retry_after_seconds: when another try makes sense; None: unsaid.
    """

    code: int
    reason: str = ""
    message: str = ""
    retry_after_seconds: float | None = None


def refusal_of(code: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """An answer's refusal; a body of any form, for a proxy may have answered instead."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    return _of_status(code, status, headers.get("retry-after", ""), body)


def _of_status(code: int, status: object, header: str, body: bytes = b"") -> Refusal:
    if not isinstance(status, Mapping):
        text = body[:MAX_CAUSE_CHARS].decode("utf-8", "replace").strip()
        return Refusal(code, "", text or f"HTTP {code}", _seconds(header))
    details = status.get("details")
    told = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    return Refusal(
        code,
        str(status.get("reason") or ""),
        _with_causes(str(status.get("message") or f"HTTP {code}"), details)[:MAX_CAUSE_CHARS],
        _seconds(header if told is None else str(told)),
    )


def _with_causes(message: str, details: object) -> str:
    """The sentence, and the causes that it does not say: a budget's figures stand only there."""
    causes = details.get("causes") if isinstance(details, Mapping) else None
    if not isinstance(causes, list):
        return message
    said = [str(cause.get("message") or "") for cause in causes if isinstance(cause, Mapping)]
    return "; ".join([message, *(text for text in said if text and text not in message)])


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds >= 0 else None


def error_of(deed: Deed, refusal: Refusal) -> errors.ClusterError:
    """The error of a refused call."""
    doing, cause = str(deed), refusal.message
    if refusal.code == 403 and refusal.reason in ("Forbidden", ""):
        return _forbidden(deed, cause)
    if refusal.code == 409 and refusal.reason == "AlreadyExists":
        return errors.ClusterExistsError(doing, cause)
    if refusal.code == 429:
        return errors.ClusterBusyError(doing, cause, refusal.retry_after_seconds)
    if refusal.code >= 500:
        return errors.ClusterUnavailableError(doing, cause, sent=deed.verb != "get")
    return _BY_CODE.get(refusal.code, errors.ClusterInvalidError)(doing, cause)


def _forbidden(deed: Deed, cause: str) -> errors.ClusterError:
    """Roles refuse with the right they miss; admission policies say 403 too, with other reasons."""
    if "cannot" not in cause and cause and not cause.startswith("HTTP"):
        return errors.ClusterInvalidError(str(deed), cause)
    return errors.ClusterForbiddenError(str(deed), cause, deed.verb, deed.right, deed.namespace)


_BY_CODE: Mapping[int, Callable[[str, str], errors.ClusterError]] = {
    401: errors.ClusterUnauthorizedError,
    404: errors.ClusterNotFoundError,
    409: errors.ClusterConflictError,
    410: errors.ClusterExpiredError,
}


def event_error(deed: Deed, status: object) -> errors.ClusterError:
    """The error that a watch tells in an event of its own."""
    code = status.get("code") if isinstance(status, Mapping) else None
    return error_of(deed, _of_status(code if isinstance(code, int) else 500, status, ""))
