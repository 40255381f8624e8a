"""Django middleware, sync and async: what the WSGI and ASGI ones do, with the view's route."""

from __future__ import annotations

from memwatch_hook.contrib.requests import Request, Watch, start_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["MemwatchMiddleware"]


class MemwatchMiddleware:
    """Watches the requests of a Django project; put it first in MIDDLEWARE."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        self._watch = Watch()
        self._asynchronous = _is_asynchronous(get_response)
        if self._asynchronous:
            _mark_as_asynchronous(self)
        start_hook()

    def __call__(self, request: Any) -> Any:
        """The response; a coroutine of it where Django runs asynchronously."""
        if self._asynchronous:
            return self._answered_later(request)
        watched = self._watch.begin()
        if watched is None:
            return self.get_response(request)
        try:
            response = self.get_response(request)
        except BaseException:
            _end(watched, request, 500)
            raise
        return _passed_on(watched, request, response)

    async def _answered_later(self, request: Any) -> Any:
        watched = self._watch.begin()
        if watched is None:
            return await self.get_response(request)
        try:
            response = await self.get_response(request)
        except BaseException:
            _end(watched, request, 500)
            raise
        return _passed_on(watched, request, response)


def _passed_on(watched: Request, request: Any, response: Any) -> Any:
    """The response with our headers; the request ends when Django closes it."""
    try:
        # Our names and values are plain ASCII: what Django checks of a header takes longer than all
        # else here. Where its table is not as expected, headers go in by its front door.
        table = getattr(response.headers, "_store", None)
        for name, value in watched.headers():
            if type(table) is dict:
                table[name.lower()] = (name, value)
            else:
                response[name] = value
        closers = getattr(response, "_resource_closers", None)
        if isinstance(closers, list):
            closers.append(_Closer(watched, request, response))
            return response
    except Exception:
        pass
    _end(watched, request, _status(response))
    return response


def _status(response: Any) -> int:
    """The response's status, if it has one."""
    status = getattr(response, "status_code", 0)
    return status if isinstance(status, int) else 0


class _Closer:
    """Ends a request with its response; a response that is put into a cache has no more to end."""

    def __init__(self, watched: Request, request: Any, response: Any) -> None:
        self._parts = (watched, request, response)

    def __call__(self) -> None:
        watched, request, response = self._parts
        _end(watched, request, _status(response))

    def __reduce__(self) -> Any:
        return _nothing_to_end, ()


def _nothing_to_end() -> Callable[[], None]:
    return _nothing


def _nothing() -> None:
    pass


def _end(watched: Request, request: Any, status: int) -> None:
    method, route = "", ""
    try:
        method = request.method
        route = _route(request)
    except Exception:
        pass
    watched.end(method, route, status)


def _route(request: Any) -> str:
    """The pattern that the address matched, never the address itself."""
    match = getattr(request, "resolver_match", None)
    return "" if match is None else f"/{match.route}"


def _is_asynchronous(function: Any) -> bool:
    try:
        from asgiref.sync import iscoroutinefunction
    except ImportError:  # asgiref before 3.6, with Django before 4.2
        from asyncio import iscoroutinefunction  # type: ignore[assignment]
    return bool(iscoroutinefunction(function))


def _mark_as_asynchronous(thing: Any) -> None:
    try:
        from asgiref.sync import markcoroutinefunction

        markcoroutinefunction(thing)
    except ImportError:
        from asyncio import coroutines

        thing._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]
