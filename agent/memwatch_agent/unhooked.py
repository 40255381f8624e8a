"""Why a Python process has no hook that answers, with the next step.

`look` gathers what can be seen of the process from outside; `why` is pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.processes import Found, script_name

#: CPython minor versions that the hook is for.
OLDEST, NEWEST = (3, 9), (3, 14)

#: What a Unix socket's address can hold.
MAX_SOCKET_BYTES = 107

#: A bootstrap's file and an app's own of the same name begin with a docstring at most so long.
MAX_READ_BYTES = 8_192

#: Folders of PYTHONPATH that are looked into.
MAX_FOLDERS = 50

#: A process's start is known to about a second.
CLOCK_SECONDS = 2.0

MARK = b"__memwatch_bootstrap__"

_OFF = ("off", "0", "no", "false")
# Installers and builders, which the hook stays out of: memwatch_hook.bootstrap.TOOLS, which nothing
# here may import. A test compares the two.
_TOOLS = frozenset(
    (
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
    )
)
_VALUE_OPTIONS = "cmWX"

_RUNNER = "start it with `python -m memwatch_hook`, or call `memwatch_hook.start()` in its code"


@dataclass(frozen=True)
class Facts:
    """What is seen of a process without a hook.

    Attributes:
        version: "3.11" or longer; empty where it is not known.
        free_threaded: whether the executable's name says so.
        tool: the installer or builder that it runs; empty where it is none.
        flags: the letters of the interpreter's one-letter options before the program.
        embedded: whether the interpreter is inside another program, whose name it is.
        switch: MEMWATCH_HOOK of its environment.
        environment: whether its environment can be read.
        bootstrap: the hook's folder on its PYTHONPATH; empty without one.
        rival: a folder before that with a sitecustomize of its own.
        too_young: whether the bootstrap's file is newer than the process.
        folder: where its hook would listen.
        folder_fault: what is wrong with that folder; empty where nothing is seen to be.
        silent: whether its socket is there and nobody answers.
    """

    version: str = ""
    free_threaded: bool = False
    tool: str = ""
    flags: str = ""
    embedded: str = ""
    switch: str = ""
    environment: bool = True
    bootstrap: str = ""
    rival: str = ""
    too_young: bool = False
    folder: str = ""
    folder_fault: str = ""
    silent: bool = False


def why(facts: Facts) -> str:
    """The reason, as `cause; next step`. Pure."""
    return next(reason for rule in _RULES if (reason := rule(facts)))


def _unsupported(facts: Facts) -> str:
    parts = facts.version.split(".")
    minor = (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[1].isdigit() else OLDEST
    wanted = "the hook is for CPython 3.9 to 3.14 with its lock"
    if facts.free_threaded:
        return f"it runs a free-threaded CPython; {wanted}"
    return "" if OLDEST <= minor <= NEWEST else f"it runs CPython {facts.version}; {wanted}"


def _switched_off(facts: Facts) -> str:
    if facts.switch.lower() not in _OFF:
        return ""
    return f"its hook is switched off by MEMWATCH_HOOK={facts.switch[:20]}; restart it without"


def _silent(facts: Facts) -> str:
    if not facts.silent:
        return ""
    return (
        "its hook's socket is there and nobody answers: it is stopped, or C code keeps the "
        "interpreter's lock; look again when it runs"
    )


def _installer(facts: Facts) -> str:
    if not facts.tool:
        return ""
    return f"it runs {facts.tool}, and the hook stays out of installers and builders; {_RUNNER}"


def _inside_another(facts: Facts) -> str:
    if facts.embedded.startswith("uwsgi"):
        return (
            "it is uWSGI: its workers have the hook if PYTHONPATH names it and uWSGI runs with "
            "enable-threads; its master never has; set both and capture a worker"
        )
    return f"its Python is inside {facts.embedded}; {_RUNNER}" if facts.embedded else ""


def _flags(facts: Facts) -> str:
    if "S" in facts.flags:
        return f"it was started with -S, which loads no sitecustomize and no .pth; {_RUNNER}"
    flag = next((flag for flag in "IE" if flag in facts.flags), "")
    if not flag:
        return ""
    return (
        f"it was started with -{flag}, which ignores PYTHONPATH; run "
        f"`python -m memwatch_hook install --pth` for its interpreter once, and restart it"
    )


def _unreadable(facts: Facts) -> str:
    if facts.environment:
        return ""
    return "no memwatch hook answers in it, and its environment cannot be read; " + _RUNNER


def _off_the_path(facts: Facts) -> str:
    if not facts.bootstrap:
        return (
            "no memwatch hook answers in it: PYTHONPATH does not name the hook's bootstrap folder; "
            "restart it with that, or start it with `python -m memwatch_hook`"
        )
    if facts.rival:
        return (
            f"the sitecustomize.py of {facts.rival!r} comes before the hook's on PYTHONPATH; "
            f"put {facts.bootstrap!r} first, and restart it"
        )
    return ""


def _too_early(facts: Facts) -> str:
    if not facts.too_young:
        return ""
    return f"it was started before the hook was put into {facts.bootstrap!r}; restart it"


def _no_place(facts: Facts) -> str:
    if not facts.folder_fault:
        return ""
    return (
        f"its hook has no place to listen: {facts.folder!r} {facts.folder_fault}; "
        "set MEMWATCH_HOOK_DIR to a folder that it may write to, and restart it"
    )


def _unknown(facts: Facts) -> str:
    return (
        "its hook should be there and does not answer: it may be ending, or starting; look again, "
        f"and if it stays so, {_RUNNER}"
    )


_RULES: Sequence[Callable[[Facts], str]] = (
    _unsupported,
    _switched_off,
    _silent,
    _inside_another,
    _installer,
    _flags,
    _unreadable,
    _off_the_path,
    _too_early,
    _no_place,
    _unknown,
)


def look(found: Found, silent: bool) -> Facts:
    """What is seen of a Python process. Reads a few files of its: call it off the event loop."""
    environ = found.environ or {}
    name = found.exe.removesuffix(" (deleted)").rpartition("/")[2]
    python = name.startswith("python")
    script = script_name(found.runtime, found.argv) if found.runtime else ""
    program = script.removesuffix(".py").partition(".")[0]
    bootstrap, rival = _on_path(found.root, environ.get("PYTHONPATH", ""))
    folder = environ.get("MEMWATCH_HOOK_DIR") or f"/tmp/memwatch-{found.uid}"
    return Facts(
        version=found.version,
        free_threaded=python and name.endswith("t"),
        tool=program if program in _TOOLS else "",
        flags=flags(found.argv) if python else "",
        embedded="" if python else name,
        switch=environ.get("MEMWATCH_HOOK", ""),
        environment=found.environ is not None,
        bootstrap=bootstrap,
        rival=rival,
        too_young=_changed(found.root, bootstrap) > found.start_seconds + CLOCK_SECONDS,
        folder=folder,
        folder_fault=_fault(found.root, folder),
        silent=silent,
    )


def flags(argv: Sequence[str]) -> str:
    """The letters of the one-letter options before the program, such as "Eu" of `-E -u app.py`."""
    letters = ""
    parts = iter(argv[1:])
    for part in parts:
        if part.startswith("--"):
            continue
        if not part.startswith("-") or part == "-":
            break
        for place, letter in enumerate(part[1:], 2):
            if letter in _VALUE_OPTIONS:
                if letter in "cm":
                    return letters
                if place == len(part):
                    next(parts, "")
                break
            letters += letter
    return letters


def _on_path(root: Path, path: str) -> tuple[str, str]:
    """The folder of PYTHONPATH with our sitecustomize, and one before it with another's."""
    rival = ""
    for folder in path.split(":")[:MAX_FOLDERS]:
        if not folder.startswith("/") or "\0" in folder:
            continue
        file = _file(root, folder)
        text = procfs.read(file, MAX_READ_BYTES) if _is_plain(file) else None
        if text is None:
            continue
        if MARK in text:
            return folder, rival
        rival = rival or folder
    return "", rival


def _is_plain(file: Path) -> bool:
    """Whether it is a file: to open a pipe would be to wait for its writer."""
    try:
        return file.is_file()
    except OSError:
        return False


def _changed(root: Path, folder: str) -> float:
    """When our sitecustomize was put into a folder; long ago where it is not seen."""
    if not folder:
        return 0.0
    try:
        return _file(root, folder).stat().st_ctime
    except OSError:
        return 0.0


def _file(root: Path, folder: str) -> Path:
    return root / folder.lstrip("/") / "sitecustomize.py"


def _fault(root: Path, folder: str) -> str:
    """What keeps a hook from listening in a folder, as far as that is seen from here."""
    longest = f"{folder}/python-9999999999-99999999999.sock"
    if len(longest.encode("utf-8", "replace")) > MAX_SOCKET_BYTES + 12:
        return f"is too long for a socket of {MAX_SOCKET_BYTES} bytes"
    if not folder.startswith("/") or "\0" in folder:
        return "is no absolute path"
    path = root / folder.lstrip("/")
    try:
        return "" if path.is_dir() else "is no folder" if path.exists() else "is not there"
    except OSError:
        return ""
