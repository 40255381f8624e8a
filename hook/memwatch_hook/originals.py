"""The operating system's own calls, also where gevent has put its own in their place.

A patched `start_new_thread` makes a greenlet, and a greenlet that sleeps in C stops the app.
"""

from __future__ import annotations

import sys
from importlib import import_module
from posix import fork, waitpid  # gevent patches `os`, not what is below it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["fork", "new_lock", "poll", "sleep", "start_new_thread", "waitpid"]


def _original(module: str, name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


new_lock = _original("_thread", "RLock")
start_new_thread = _original("_thread", "start_new_thread")
poll = _original("select", "poll")
sleep = _original("time", "sleep")
