"""Starts the memwatch hook in every Python that has this folder on its path.

Then it runs the app's own sitecustomize, which it hides.
Put the folder in front: PYTHONPATH=<hook>/bootstrap:<hook>. See docs/howto/python-hook.md.
"""

import sys

__memwatch_bootstrap__ = True

# Programs that build or install: short, many, and nobody's service.
_TOOLS = frozenset(
    [
        "pip",
        "pip3",
        "ensurepip",
        "venv",
        "virtualenv",
        "pipx",
        "uv",
        "poetry",
        "pipenv",
        "conda",
        "easy_install",
        "setuptools",
        "build",
        "wheel",
        "twine",
        "_in_process",
        "compileall",
        "py_compile",
    ]
)


def _program():
    """The name of what Python was started to run: a script's or, after -m, a module's."""
    with open("/proc/self/cmdline", "rb") as cmdline:
        words = cmdline.read().decode("utf-8", "replace").split("\0")[1:]
    for index, word in enumerate(words):
        if word.startswith("-m"):
            return (word[2:] or words[index + 1]).partition(".")[0]
        if word.startswith("-c"):
            return ""
        if word in ("-W", "-X"):
            continue
        if not word.startswith("-"):
            name = word.rpartition("/")[2]
            return name[:-3] if name.endswith(".py") else name
    return ""


def _start():
    try:
        if _program() not in _TOOLS:
            import memwatch_hook

            memwatch_hook.start()
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
