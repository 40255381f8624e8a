"""The memwatch hook for CPython 3.9–3.14: standard library only, never breaks the app.

`start()` makes this process answer agents on a Unix socket; `stop()` ends that. Neither raises.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .server import Server

__version__ = "0.1.0"
__all__ = ["__version__", "start", "stop"]

# Many processes live for a blink, or become another program: they get no socket.
DELAY_SECONDS = 0.1


class _Hook:
    """The hook of this process: off, or a server with its thread. A forked child makes its own."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._registered = False
        self._forgetful: list[Callable[[], None]] = []

    def start(self) -> bool:
        """Starts the hook's thread; whether the hook is on (`MEMWATCH_HOOK=off` keeps it off)."""
        if self._server is not None:
            return True
        try:
            if not _is_wanted():
                return False
            self._register()
            if _is_uwsgi():
                from .uwsgi import in_workers

                in_workers(self._start_in_worker)
            else:
                self._serve()
        except Exception:
            return False
        return True

    def stop(self) -> None:
        """Stops the hook of this process and removes its socket."""
        server, self._server = self._server, None
        try:
            if server is not None:
                server.stop()
        except Exception:
            pass

    def register_at_fork(self, forget: Callable[[], None]) -> None:
        """Has `forget` called in every forked child of the app, whether the hook is on or not."""
        self._forgetful.append(forget)
        self._register()

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            os.register_at_fork(after_in_child=self.after_fork)
            atexit.register(self.stop)

    def _serve(self) -> None:
        from .originals import start_new_thread
        from .server import Server

        self._server = Server()
        start_new_thread(self._server.run, (DELAY_SECONDS,))

    def _start_in_worker(self) -> None:
        """In a worker of uWSGI's: Python has not heard of the fork."""
        try:
            for forget in self._forgetful:
                forget()
            if self._server is None:
                self._serve()
        except Exception:
            pass

    def after_fork(self) -> None:
        """In a forked child, before any code of the app: nothing of the parent's hook stays."""
        try:
            snapshots = sys.modules.get("memwatch_hook.snapshot")
            if snapshots is not None:
                snapshots.become_child()
            for forget in self._forgetful:
                forget()
            server, self._server = self._server, None
            if server is not None:
                server.forget()
                self._serve()
        except Exception:
            pass


def _is_wanted() -> bool:
    if os.environ.get("MEMWATCH_HOOK", "").lower() in ("off", "0", "no", "false"):
        return False
    return sys.platform == "linux" and sys.implementation.name == "cpython"


def _is_uwsgi() -> bool:
    return os.path.basename(os.readlink("/proc/self/exe")).startswith("uwsgi")


def own_lock() -> Any:
    """A lock that one thread may take twice: a finalizer or signal handler may come in between."""
    from .originals import new_lock

    return new_lock()


_hook = _Hook()
start = _hook.start
stop = _hook.stop
register_at_fork = _hook.register_at_fork
