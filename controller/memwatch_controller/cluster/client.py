"""A thin asyncio client of the Kubernetes API: objects are plain JSON, errors are named.

Every call has a deadline, a bound on what it reads, and a few tries: reads are tried again
after any break of the connection, changes only where nothing can have been done yet.
"""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx2

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.answers import Deed, Object, error_of, event_error, refusal_of
from memwatch_controller.cluster.config import Config, token_of
from memwatch_controller.cluster.errors import ClusterError, ClusterUnavailableError, NoClusterError
from memwatch_controller.cluster.resources import Resource

#: Who made a change, as the objects' `managedFields` tell it.
FIELD_MANAGER = "memwatch"

#: Tries of one call, the first one among them.
TRIES = 4

#: Before the second try; four times as long before each further one.
FIRST_PAUSE_SECONDS = 0.2

#: A server that asks for a longer pause before the next try gets its error handed on instead.
MAX_PAUSE_SECONDS = 10.0

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0

#: A watch's bookmarks come every minute; a connection silent for longer is taken for dead.
WATCH_SILENCE_SECONDS = 100.0

#: A watch is ended by the server after this, and begun again by whoever wants to go on.
WATCH_SECONDS = 300

#: Objects in one page of a list.
PAGE = 250

#: Objects in one list, over all pages; a cluster may have 150,000 pods.
MAX_LISTED = 20_000

#: Bytes of one answer: a page of the largest pods that there are (etcd takes 1.5 MiB each) is
#: larger, one of real pods a tenth of it.
MAX_BODY_BYTES = 64 * 1024 * 1024

_RETRIED_CODES = (429, 500, 502, 503, 504)


#: A merged patch is an object, a JSON patch a list of operations.
Patch = Object | list[Object]


class PatchKind(StrEnum):
    """How a patch is to be read."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"


@dataclass(frozen=True)
class Listing:
    """Objects as they were at one instant; a watch goes on from `resource_version`."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True)
class Event:
    """One change that a watch told: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`."""

    kind: str
    object: Object


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "application/json"

    @property
    def reads(self) -> bool:
        return self.method == "GET"


class Client:
    """Talks to one API server. Close it at the end; it belongs to one event loop."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str] = os.environ,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Makes the client; nothing is sent yet.

        Raises:
            NoClusterError: a certificate of the settings cannot be used.
        """
        self._config = config
        self._environ = environ
        self._sleep = sleep
        self._token = ""
        self._http = httpx2.AsyncClient(
            base_url=config.server,
            verify=config.ssl_context(),
            trust_env=not config.in_cluster,
            follow_redirects=False,
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            headers={"accept": "application/json", "user-agent": FIELD_MANAGER},
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    @property
    def namespace(self) -> str:
        """What is meant where no namespace is named."""
        return self._config.namespace

    async def get(
        self, resource: Resource, name: str, namespace: str = "", subresource: str = ""
    ) -> Object:
        """One object.

        Raises:
            ClusterNotFoundError: there is none of that name.
            ClusterError: it cannot be read.
        """
        deed = Deed("get", resource, namespace, name, subresource)
        return await self._object(deed, _Request("GET", _path(deed)))

    async def list(
        self, resource: Resource, namespace: str = "", labels: str = "", fields: str = ""
    ) -> Listing:
        """All objects of a kind, at most `MAX_LISTED`; of all namespaces where none is named.

        Args:
            resource: the kind.
            namespace: where.
            labels: a label selector, such as `app=web`.
            fields: a field selector, such as `status.phase=Running`.

        Raises:
            ClusterExpiredError: the list changed too much while it was read: read it again.
            ClusterError: it cannot be read.
        """
        deed = Deed("list", resource, namespace)
        query = _selecting(labels, fields) | {"limit": str(PAGE)}
        items: list[Object] = []
        while True:
            page = await self._object(deed, _Request("GET", _path(deed), query))
            about = page.get("metadata") or {}
            items += page.get("items") or ()
            if len(items) > MAX_LISTED:
                cause = f"there are more than {MAX_LISTED}; name a namespace or labels"
                raise ClusterError(str(deed), cause)
            if not about.get("continue"):
                return Listing(tuple(items), str(about.get("resourceVersion") or ""))
            query["continue"] = str(about["continue"])

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        since: str = "",
        labels: str = "",
        fields: str = "",
    ) -> AsyncIterator[Event]:
        """Changes since a resource version, until the server ends it, after minutes.

        Remember the newest object's resource version and go on from there.

        Raises:
            ClusterExpiredError: that version is too old: list again and go on from there.
            ClusterUnavailableError: the connection broke: go on from where it broke.
        """
        deed = Deed("watch", resource, namespace)
        query = _selecting(labels, fields) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if since:
            query["resourceVersion"] = since
        request = _Request("GET", _path(deed), query)
        async with self._opened(deed, request, WATCH_SILENCE_SECONDS) as response:
            async for line in _lines(deed, response):
                yield _event(deed, line)

    async def create(
        self,
        resource: Resource,
        body: Object,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Creates an object, or a subresource of the one that is named.

        Raises:
            ClusterExistsError: there is one of that name.
            ClusterError: it cannot be created.
        """
        deed = Deed("create", resource, namespace, name, subresource)
        return await self._changed("POST", deed, body, dry_run)

    async def replace(
        self,
        resource: Resource,
        name: str,
        body: Object,
        namespace: str = "",
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Puts an object in the place of the one that was read (its resource version says which).

        Raises:
            ClusterConflictError: it has changed since.
            ClusterError: it cannot be changed.
        """
        deed = Deed("update", resource, namespace, name, subresource)
        return await self._changed("PUT", deed, body, dry_run)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Patch,
        namespace: str = "",
        *,
        kind: PatchKind = PatchKind.STRATEGIC,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Changes some fields of an object; `metadata.resourceVersion` in it makes it conditional.

        Raises:
            ClusterConflictError: it has changed since the version that the patch names.
            ClusterInvalidError: the result is refused, or a `test` of a JSON patch fails.
            ClusterError: it cannot be changed.
        """
        deed = Deed("patch", resource, namespace, name, subresource)
        return await self._changed("PATCH", deed, body, dry_run, kind)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """Deletes an object; the one of that uid and version only, where they are named.

        Raises:
            ClusterNotFoundError: there is none of that name.
            ClusterConflictError: that name is another object's by now.
            ClusterError: it cannot be deleted.
        """
        deed = Deed("delete", resource, namespace, name)
        await self._changed(
            "DELETE", deed, delete_options(uid, resource_version, grace_seconds), dry_run
        )

    async def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """Asks for a pod to be ended, as far as its disruption budgets allow.

        Raises:
            ClusterBusyError: a budget forbids it; its cause says which.
            ClusterNotFoundError: there is no such pod.
            ClusterError: it cannot be evicted.
        """
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": delete_options(uid, "", grace_seconds),
        }
        deed = Deed("create", resources.PODS, namespace, name, "eviction")
        await self._changed("POST", deed, body, dry_run)

    async def may(
        self,
        verb: str,
        resource: Resource,
        namespace: str = "",
        subresource: str = "",
        name: str = "",
    ) -> bool:
        """Whether we have a right, as the API server itself sees it.

        A right on one object by its name is only seen by asking for that `name`.

        Raises:
            ClusterError: it cannot be asked.
        """
        asked = {
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "namespace": namespace,
            "subresource": subresource,
            "name": name,
        }
        body = {
            "apiVersion": resources.ACCESS_REVIEWS.api_version,
            "kind": resources.ACCESS_REVIEWS.kind,
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
        answer = await self.create(resources.ACCESS_REVIEWS, body)
        return bool((answer.get("status") or {}).get("allowed"))

    async def version(self) -> str:
        """The API server's version, such as `v1.36.0`.

        Raises:
            ClusterError: it cannot be asked.
        """
        deed = Deed("get", Resource("", "", "the API server's version", "", namespaced=False))
        answer = await self._object(deed, _Request("GET", "/version"))
        return str(answer.get("gitVersion") or "")

    async def _changed(
        self,
        method: str,
        deed: Deed,
        body: object,
        dry_run: bool,
        kind: PatchKind | None = None,
    ) -> Object:
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if method == "DELETE":
            query = {}
        if dry_run:
            query["dryRun"] = "All"
        packed = json.dumps(body, separators=(",", ":")).encode()
        content_type = kind.value if kind else "application/json"
        request = _Request(method, _path(deed), query, packed, content_type)
        return await self._object(deed, request)

    async def _object(self, deed: Deed, request: _Request) -> Object:
        """The JSON object that a call answers with."""
        async with self._opened(deed, request, READ_SECONDS) as response:
            body = await _body(deed, response)
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            cause = f"what answered at {self._config.server} is no API server"
            raise ClusterUnavailableError(str(deed), cause, sent=True)
        return found

    @contextlib.asynccontextmanager
    async def _opened(
        self, deed: Deed, request: _Request, silence_seconds: float
    ) -> AsyncIterator[httpx2.Response]:
        """An answer of the 200s, its body still to be read."""
        response = await self._answered(deed, request, silence_seconds)
        try:
            yield response
        except httpx2.HTTPError as error:
            raise _broken(deed, error, sent=True) from error
        finally:
            await response.aclose()

    async def _answered(
        self, deed: Deed, request: _Request, silence_seconds: float
    ) -> httpx2.Response:
        pause = FIRST_PAUSE_SECONDS
        for left in range(TRIES - 1, -1, -1):
            try:
                response = await self._sent(request, silence_seconds)
            except httpx2.HTTPError as error:
                nothing_done = request.reads or _is_unsent(error)
                if not left or not nothing_done:
                    raise _broken(deed, error, sent=not _is_unsent(error)) from error
                wait = pause
            else:
                if response.is_success:
                    return response
                wait = await self._wait_after(deed, request, response, pause, left)
            await self._sleep(wait)
            pause *= 4
        raise AssertionError("the last try returns or raises")

    async def _wait_after(
        self,
        deed: Deed,
        request: _Request,
        response: httpx2.Response,
        pause: float,
        left: int,
    ) -> float:
        """How long to wait before the next try of a refused call.

        Raises:
            ClusterError: there is none.
        """
        try:
            body = await _body(deed, response)
        except httpx2.HTTPError:
            body = b""
        finally:
            await response.aclose()
        refusal = refusal_of(response.status_code, response.headers, body)
        wait = max(pause, refusal.retry_after_seconds or 0)
        if response.status_code == 401 and self._forget_token() and left:
            return 0
        again = response.status_code in _RETRIED_CODES if request.reads else refusal.code == 429
        # An eviction that a budget forbids is 429 too, and stays so for longer than a call lasts.
        if not again or deed.subresource == "eviction" or not left or wait > MAX_PAUSE_SECONDS:
            raise error_of(deed, refusal)
        return wait

    async def _sent(self, request: _Request, silence_seconds: float) -> httpx2.Response:
        headers = await self._credentials()
        if request.body:
            headers["content-type"] = request.content_type
        extensions: dict[str, Any] = {}
        if self._config.server_name:
            extensions["sni_hostname"] = self._config.server_name
        built = self._http.build_request(
            request.method,
            request.path,
            params=dict(request.query),
            content=request.body or None,
            headers=headers,
            extensions=extensions,
            timeout=httpx2.Timeout(silence_seconds, connect=CONNECT_SECONDS),
        )
        return await self._http.send(built, stream=True)

    async def _credentials(self) -> dict[str, str]:
        """The header that says who we are; a token's file is read each time, for it is renewed."""
        config = self._config
        if config.user and config.password:
            pair = base64.b64encode(f"{config.user}:{config.password}".encode()).decode("ascii")
            return {"authorization": f"Basic {pair}"}
        token = config.token
        if config.token_file is not None:
            token = _read_token(config)
        elif config.exec is not None:
            if not self._token:
                self._token = await asyncio.to_thread(token_of, config.exec, self._environ)
            token = self._token
        return {"authorization": f"Bearer {token}"} if token else {}

    def _forget_token(self) -> bool:
        """Forgets a program's token; whether there was one, so that another try makes sense."""
        had, self._token = self._token, ""
        return bool(had)


def delete_options(uid: str, resource_version: str, grace_seconds: int | None) -> Object:
    """The DeleteOptions of a delete or an eviction."""
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    conditions = {"uid": uid, "resourceVersion": resource_version}
    if any(conditions.values()):
        options["preconditions"] = {key: value for key, value in conditions.items() if value}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return options


def _path(deed: Deed) -> str:
    try:
        return deed.resource.path(deed.namespace, deed.name, deed.subresource)
    except ValueError as error:
        raise ClusterError(str(deed), str(error)) from error


def _selecting(labels: str, fields: str) -> dict[str, str]:
    said = {"labelSelector": labels, "fieldSelector": fields}
    return {key: value for key, value in said.items() if value}


def _read_token(config: Config) -> str:
    assert config.token_file is not None
    try:
        return config.token_file.read_text("utf-8").strip()
    except OSError as error:
        cause = f"the token '{config.token_file}' cannot be read ({error.strerror})"
        raise NoClusterError(cause) from error


async def _body(deed: Deed, response: httpx2.Response) -> bytes:
    """The whole body of an answer.

    Raises:
        ClusterError: it is larger than `MAX_BODY_BYTES`.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ClusterError(str(deed), f"the answer is larger than {MAX_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


async def _lines(deed: Deed, response: httpx2.Response) -> AsyncIterator[bytes]:
    """The lines of a watch. Bytes, for a line separator of Unicode may stand in an object."""
    held = b""
    async for part in response.aiter_bytes():
        *whole, held = (held + part).split(b"\n")
        if len(held) > MAX_BODY_BYTES:
            raise ClusterError(str(deed), f"an event is larger than {MAX_BODY_BYTES} bytes")
        for line in whole:
            if line.strip():
                yield line


def _event(deed: Deed, line: bytes) -> Event:
    try:
        told = json.loads(line)
        kind, found = str(told["type"]), told["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterUnavailableError(str(deed), "what it tells is no event") from error
    if kind == "ERROR" or not isinstance(found, dict):
        raise event_error(deed, found)
    return Event(kind, found)


def _is_unsent(error: httpx2.HTTPError) -> bool:
    """Whether the API server cannot have seen the request."""
    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def _broken(deed: Deed, error: httpx2.HTTPError, *, sent: bool) -> ClusterUnavailableError:
    what = str(error) or type(error).__name__
    if isinstance(error, httpx2.TimeoutException):
        what = f"it does not answer in time ({type(error).__name__})"
    return ClusterUnavailableError(str(deed), what[:300], sent=sent)
