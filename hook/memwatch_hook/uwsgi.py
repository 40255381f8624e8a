"""The hook in uWSGI's workers, which are forked in C: no callback of Python's runs there.

The master gets no thread of ours: one that waits for the interpreter's lock while uWSGI forks
would leave that lock broken in the worker. In the worker uWSGI calls `uwsgi.post_fork_hook`. The
`uwsgi` module appears only after the interpreter has started, so we look for it at each import
until it is there; then ours is kept in front of whatever the app puts there.

Without `enable-threads` a worker never gives the interpreter's lock away between two requests:
a thread would wait 200 times a second for nothing, so there is no hook.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAME = "post_fork_hook"


def in_workers(start: Callable[[], None]) -> None:
    """Has `start` run in every worker, before the app's own post-fork hook."""
    if not _placed(start):
        sys.meta_path.insert(0, _Watch(start))


def _placed(start: Callable[[], None]) -> bool:
    """Puts `start` into the `uwsgi` module; whether that was there."""
    module: Any = sys.modules.get("uwsgi")
    if module is None:
        return False
    if _has_threads(module.opt):
        theirs = vars(module).get(NAME)
        module.__class__ = _kept_in_front(start)
        setattr(module, NAME, theirs)
        if module.worker_id():  # lazy-apps: this is a worker, and the hook has been called already
            start()
    return True


def _has_threads(options: dict[Any, Any]) -> bool:
    known = {_text(name): _text(value) for name, value in options.items()}
    return "enable-threads" in known or known.get("threads", "1") != "1"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _Watch:
    """Finds no module ever; is asked at each import, and leaves when `uwsgi` is there."""

    def __init__(self, start: Callable[[], None]) -> None:
        self._start = start

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Nothing; see the class."""
        try:
            if "uwsgi" in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                _placed(self._start)
        except Exception:
            pass


def _kept_in_front(ours: Callable[[], None]) -> type[ModuleType]:
    """The class of a `uwsgi` module in which another post-fork hook is run after ours."""

    class Module(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == NAME:
                theirs = value

                def value() -> None:
                    ours()
                    if callable(theirs):
                        theirs()

            ModuleType.__setattr__(self, name, value)

    return Module
