"""What stands before every HTTP request: the bearer token, and a check of who is asked."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import grpc

from memwatch_controller.api.http import problems
from memwatch_proto.auth import HEADER, matches
from memwatch_proto.status import Failure, Reason

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_App = Callable[
    [_Scope, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]],
    Awaitable[None],
]

#: An orchestrator's probes have no token.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})

#: Hosts by which this machine is asked when there is no token.
_LOCAL_HOSTS = ("localhost", "127.", "[::1]", "::1")


class Guard:
    """Refuses requests without the token.

    Where there is no token (on loopback only), it refuses requests for another host instead:
    a page in a browser may otherwise reach us under its own name (DNS rebinding).
    """

    def __init__(self, app: _App, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(
        self,
        scope: _Scope,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Lets a request pass, or answers in its place."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        failure = self._refusal(headers)
        if failure is None:
            await self._app(scope, receive, send)
        else:
            await problems.response(failure)(scope, receive, send)

    def _refusal(self, headers: dict[str, str]) -> Failure | None:
        if self._token:
            if matches(headers.get(HEADER, ""), self._token):
                return None
            return Failure(
                grpc.StatusCode.UNAUTHENTICATED,
                Reason.UNAUTHENTICATED,
                "cannot accept the request: the bearer token is missing or wrong; "
                "send 'Authorization: Bearer TOKEN'",
            )
        host = headers.get("host", "")
        if not host or host.startswith(_LOCAL_HOSTS):
            return None
        return Failure(
            grpc.StatusCode.PERMISSION_DENIED,
            Reason.UNAUTHENTICATED,
            "cannot accept the request: without a token only this machine may ask, by a "
            "loopback name",
        )
