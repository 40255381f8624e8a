"""Starts the memwatch hook in every Python that has this folder on its path.

Then it runs the app's own sitecustomize, which it hides.
Put the folder in front: PYTHONPATH=<hook>/bootstrap:<hook>. See docs/howto/python-hook.md.
"""

import sys

__memwatch_bootstrap__ = True


def _start():
    try:
        from memwatch_hook.bootstrap import start

        start()
    except Exception:
        pass


def _chain():
    """Runs the sitecustomize that this one hides, in its own name and place."""
    import os
    from importlib._bootstrap import module_from_spec  # importlib.util would import threading
    from importlib.machinery import PathFinder

    here = os.path.dirname(os.path.abspath(__file__))
    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["sitecustomize"]
        raise


_start()
_chain()
