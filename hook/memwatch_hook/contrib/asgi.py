"""ASGI middleware: `app = MemwatchMiddleware(app)`, or `app.add_middleware(MemwatchMiddleware)`.

Only HTTP is watched; WebSockets and the lifespan go to the app untouched. Messages of the app
are passed on as they are, but for the headers of the response.
"""

from __future__ import annotations

from memwatch_hook.contrib.requests import Request, Watch, guarded, start_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

__all__ = ["MemwatchMiddleware"]


class MemwatchMiddleware:
    """Watches the requests of an ASGI application."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app
        self._watch = Watch()
        start_hook()

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Runs the app."""
        request = self._watch.begin() if scope["type"] == "http" else None
        if request is None:
            return await self.app(scope, receive, send)
        status = 0

        async def sending(message: Any) -> None:
            nonlocal status
            try:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    message = _with_headers(message, request)
            except Exception:
                pass
            await send(message)

        try:
            return await self.app(scope, receive, sending)
        except Exception:
            status = status or 500  # what the server will say
            raise
        finally:
            request.end(guarded(lambda: scope["method"]), guarded(lambda: _route(scope)), status)


def _with_headers(message: dict[str, Any], request: Request) -> dict[str, Any]:
    """A copy of the message: the app's own may be used again."""
    ours = [(name.lower().encode(), value.encode()) for name, value in request.headers()]
    return {**message, "headers": [*message.get("headers", ()), *ours]} if ours else message


def _route(scope: dict[str, Any]) -> str:
    """The route as the app spells it, where the framework tells: Starlette's and FastAPI's do."""
    route = scope.get("route")
    return getattr(route, "path", "") if route is not None else ""
