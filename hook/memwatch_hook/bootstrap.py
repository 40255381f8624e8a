"""Starts the hook in a Python that was not asked: by sitecustomize, or by a `.pth`."""

from __future__ import annotations

from . import start as start_hook

# Programs that build or install, short, many and nobody's service; and memwatch itself.
TOOLS = frozenset(
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
        "memwatchctl",
        "memwatch-agent",
        "memwatch_agent",
        "memwatch-controller",
        "memwatch_controller",
    ]
)


def start() -> None:
    """Starts the hook where this is not one of the tools. Never raises."""
    try:
        if program() not in TOOLS:
            start_hook()
    except Exception:
        pass


def program() -> str:
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
