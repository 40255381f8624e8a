"""`uwsgi.py`: uWSGI's one post-fork hook is shared with the app's; real workers: hook_python."""

import sys
from types import ModuleType

import pytest

from memwatch_hook import uwsgi


@pytest.fixture
def calls():
    return []


@pytest.fixture
def module(monkeypatch):
    """What uWSGI puts into `sys.modules` in its master, with threads."""
    made = ModuleType("uwsgi")
    made.opt = {b"enable-threads": b"true", "threads": b"1"}  # type: ignore[attr-defined]
    made.worker_id = lambda: 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", made)
    return made


def test_ours_runs_first_whatever_the_app_sets(module, calls):
    """An earlier hook, and one set later as uwsgidecorators does, are run after ours, each once."""
    module.post_fork_hook = lambda: calls.append("earlier")
    uwsgi.in_workers(lambda: calls.append("ours"))
    assert calls == []
    module.post_fork_hook()
    assert calls == ["ours", "earlier"]
    calls.clear()
    module.post_fork_hook = lambda: calls.append("later")
    module.other = 5
    module.post_fork_hook()
    assert calls == ["ours", "later"]
    assert module.other == 5


def test_a_worker_that_loads_lazily_is_started_at_once(module, calls):
    """With lazy-apps the fork is over when the app's first import comes."""
    module.worker_id = lambda: 2
    uwsgi.in_workers(lambda: calls.append("ours"))
    assert calls == ["ours"]


@pytest.mark.parametrize("options", [{}, {"threads": b"1"}, {"master": True}])
def test_without_threads_nothing_is_touched(module, calls, options):
    """The interpreter's lock is never given away: a hook could not answer."""
    module.opt = options
    uwsgi.in_workers(lambda: calls.append("ours"))
    assert type(module) is ModuleType
    assert not hasattr(module, "post_fork_hook")


def test_the_module_is_waited_for_at_imports(module, calls, monkeypatch):
    """Until it is there each import is looked at; then the finder leaves."""
    monkeypatch.delitem(sys.modules, "uwsgi")
    before = list(sys.meta_path)
    uwsgi.in_workers(lambda: calls.append("ours"))
    [finder] = [one for one in sys.meta_path if one not in before]
    assert finder.find_spec("json", None) is None
    assert finder in sys.meta_path
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    assert finder.find_spec("shop", None) is None
    assert sys.meta_path == before
    module.post_fork_hook()
    assert calls == ["ours"]
