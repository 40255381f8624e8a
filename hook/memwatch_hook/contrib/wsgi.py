"""WSGI middleware: `app = MemwatchMiddleware(app)`; for Flask, `app.wsgi_app = …(app.wsgi_app)`.

The response is the app's, byte for byte, but for our headers: the body is passed on as it is
wherever a server could look at what it is (a list, a file).
"""

from __future__ import annotations

from memwatch_hook.contrib.requests import Request, Watch, start_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__all__ = ["MemwatchMiddleware"]


class MemwatchMiddleware:
    """Watches the requests of a WSGI application."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self._watch = Watch()
        start_hook()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Runs the app."""
        request = self._watch.begin()
        if request is None:
            return self.app(environ, start_response)
        response = _Response(request, environ, start_response)
        try:
            body = self.app(environ, response.start)
        except BaseException:
            response.end(500)
            raise
        return response.passed_on(body)


class _Response:
    """One response on its way."""

    def __init__(
        self, request: Request, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> None:
        self._request = request
        self._environ = environ
        self._start_response = start_response
        self._status = 0
        self._route = ""

    def start(self, status: str, headers: Any, *exc_info: Any, **named: Any) -> Any:
        """The app's `start_response`."""
        try:
            self._status = int(status[:3])
            flask = self._environ.get("werkzeug.request")
            if flask is not None:
                self._route = _route(flask)
            ours = self._request.headers()
            # A list of our own: the app may keep its own and use it again.
            sent = [*headers, *ours] if ours and type(headers) is list else headers
        except Exception:
            sent = headers
        return self._start_response(status, sent, *exc_info, **named)

    def passed_on(self, body: Any) -> Any:
        """The body for the server."""
        try:
            if isinstance(body, (list, tuple)) or self._is_file(body):
                self.end()
                return body
            return (_SizedBody if hasattr(body, "__len__") else _Body)(body, self)
        except Exception:
            return body

    def _is_file(self, body: Any) -> bool:
        """Whether the server may send the body by itself, without asking for its parts."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        return wrapper is not None and isinstance(wrapper, type) and isinstance(body, wrapper)

    def end(self, status: int = 0) -> None:
        """Counts the request, once; never raises."""
        if not self._request.done:
            try:
                method = self._environ["REQUEST_METHOD"]
            except Exception:
                method = ""
            self._request.end(method, self._route, self._status or status)


def _route(flask: Any) -> str:
    """The route as the app spells it, as Flask's request tells it until the request ends."""
    rule = getattr(flask, "url_rule", None)
    return "" if rule is None else str(rule.rule)


class _Body:
    """A body that is made while it is sent; the request ends with it."""

    def __init__(self, body: Any, response: _Response) -> None:
        self._body = body
        self._response = response
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        self._parts = iter(self._body)
        return self

    def __next__(self) -> bytes:
        if self._parts is None:
            self._parts = iter(self._body)
        try:
            return next(self._parts)
        except BaseException:  # StopIteration, too
            self._response.end()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def close(self) -> None:
        """What the server calls at the end, also where the client has gone."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._response.end()

    def __del__(self) -> None:
        self._response.end()


class _SizedBody(_Body):
    """Servers look at a body's length: one of length 1 gets a Content-Length."""

    def __len__(self) -> int:
        return len(self._body)
