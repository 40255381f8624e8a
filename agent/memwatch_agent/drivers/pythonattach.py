"""Puts the hook into a Python process that was started without it. Off unless asked for.

Two ways, neither harmless (docs/decisions/0032-attach-python.md):

* `remote-exec`: `sys.remote_exec` of CPython 3.14, called by the target's own interpreter. Safe for
  its memory; the main thread loads the hook when it next runs Python code.
* `inject`: ptrace and dlopen at an arbitrary instruction, by the package hypno. It stopped every
  process with busy threads for ever, so that only processes with a single thread are tried.

The hook then stays until the process ends, as if it had been started with it.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Process, Way
from memwatch_agent.drivers.errors import CaptureFailedError, NoWayInError
from memwatch_agent.drivers.hook import HookDriver, HookLink
from memwatch_agent.drivers.loaders import Loaders


class AttachPython(StrEnum):
    """How a Python process without a hook may be entered."""

    OFF = "off"
    REMOTE_EXEC = "remote-exec"
    INJECT = "inject"


#: The first CPython with `sys.remote_exec`, and the last that hypno was tried on.
REMOTE_EXEC_SINCE = (3, 14)
INJECT_UNTIL = (3, 13)

#: The loader waits for the target to be stopped and to run one call; then it is taken for hung.
LOAD_SECONDS = 20.0

#: The hook listens 0.1 s after it was loaded; remote_exec waits for the main thread to run.
LISTEN_SECONDS = 5.0

LOOK_SECONDS = 0.05

_REMOTE = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
_INJECT = "import sys, hypno; hypno.inject_py(int(sys.argv[1]), open(sys.argv[2]).read())"


# What the target's interpreter says of a call that it refuses, and what that means.
_REFUSALS = (
    (
        "Remote debugging is not enabled",
        "its CPython was started with PYTHON_DISABLE_REMOTE_DEBUG or -X disable-remote-debug",
    ),
    (
        "Permission",
        "the agent may not write into its memory: it needs the same uid, or CAP_SYS_PTRACE where "
        "the uid is another or kernel.yama.ptrace_scope forbids it",
    ),
    ("Operation not permitted", "the agent may not write into its memory (a seccomp profile?)"),
    ("NotImplementedError", "its CPython was built without remote debugging"),
    ("has no attribute 'remote_exec'", "its CPython was built without remote debugging"),
)


def refusal(said: str) -> str:
    """What the last line of a loader's error means; empty where it is not known. Pure."""
    return next((meaning for words, meaning in _REFUSALS if words in said), "")


def obstacle(
    way: AttachPython,
    version: str,
    threads: int,
    same_root: bool,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Why a process may not be entered in this way; empty where it may. Pure.

    `environ` is the process's own, as far as it can be read.
    """
    minor = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if way is AttachPython.OFF:
        return "the agent was not told to enter processes without a hook (--attach-python)"
    if not same_root:
        return "its files are not the agent's, so that the hook cannot be put into it"
    if len(minor) != 2:
        return "the version of its CPython is not known"
    if way is AttachPython.REMOTE_EXEC:
        if minor < REMOTE_EXEC_SINCE:
            return "sys.remote_exec comes with CPython 3.14"
        switched_off = (environ or {}).get("PYTHON_DISABLE_REMOTE_DEBUG")
        return f"it has PYTHON_DISABLE_REMOTE_DEBUG={switched_off[:20]}" if switched_off else ""
    if minor > INJECT_UNTIL:
        return f"injection was never tried on CPython {version}; use --attach-python=remote-exec"
    if threads != 1:
        return (
            f"it has {threads} threads, and to inject into such a process may stop it for ever; "
            "restart it with the hook"
        )
    return ""


def threads_of(pid: int) -> int:
    """How many threads a process has; 0 where nobody can tell."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def hook_folder() -> Path | None:
    """The folder with the hook's package that came with this agent; it is not imported."""
    found = importlib.util.find_spec("memwatch_hook")
    if found is None or not found.origin:
        return None
    return Path(found.origin).resolve().parents[1]


class PythonAttachDriver:
    """Loads the hook into a process, then captures through it."""

    way = Way.ATTACH

    def __init__(
        self, attach: AttachPython, folder: Callable[[], Path | None], hook: HookDriver
    ) -> None:
        """How to enter, and how to go on.

        Args:
            attach: how a process may be entered.
            folder: where the hook's package is, as agent and target both see it.
            hook: captures through the hook once it is there.
        """
        self._attach = attach
        self._folder = folder
        self._hook = hook
        self._loaders = Loaders()

    def open(self, target: Process) -> AbstractAsyncContextManager[HookLink]:
        """Loads the hook if it is not there and connects to it.

        Raises:
            NoWayInError: the process may not be entered in this way.
            CaptureFailedError: the hook was loaded, or should have been, and does not answer.
        """
        return self._opened(target)

    @asynccontextmanager
    async def _opened(self, target: Process) -> AsyncIterator[HookLink]:
        socket = _socket_of(target)
        if not await asyncio.to_thread(_is_there, socket):
            await self._load(target)
            await _appeared(target, socket)
            await asyncio.to_thread(self._loaders.drop, target)
        async with self._hook.open(replace(target, hook_socket=socket)) as link:
            link.notes = (*link.notes, f"the hook was loaded by {self._attach} and stays")
            yield link

    async def _load(self, target: Process) -> None:
        same_root = target.visible and target.root == Path("/")
        threads = threads_of(target.pid)
        why = obstacle(self._attach, target.version, threads, same_root, target.environ)
        folder = self._folder()
        if not why and folder is None:
            why = "there is no memwatch_hook beside this agent; install memwatch-hook"
        if why or folder is None:
            raise NoWayInError(target.pid, why)
        script = await asyncio.to_thread(self._loaders.write, target, folder)
        said = await _run(target, self._command(target, script))
        if said or self._attach is AttachPython.INJECT:  # nobody will read it any more
            await asyncio.to_thread(self._loaders.drop, target)
        if cause := refusal(said):
            raise NoWayInError(target.pid, cause, "restart it with the hook")
        if said:
            cause = f"the hook could not be loaded: {said[:200]}"
            raise CaptureFailedError(target.pid, cause, "restart it with the hook")

    def _command(self, target: Process, script: Path) -> Sequence[str]:
        if self._attach is AttachPython.REMOTE_EXEC:
            # Both ends must be the very same version: the target's own interpreter is.
            return (target.exe, "-I", "-c", _REMOTE, str(target.pid), str(script))
        return (sys.executable, "-c", _INJECT, str(target.pid), str(script))


async def _run(target: Process, command: Sequence[str]) -> str:
    """Runs the loader; empty, or the last line of why it failed.

    One that hangs is left alone: killed, it would leave the target broken.

    Raises:
        NoWayInError: it cannot be started.
        CaptureFailedError: it hangs.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise NoWayInError(target.pid, f"{command[0]!r} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise CaptureFailedError(
            target.pid,
            f"loading the hook has not ended within {LOAD_SECONDS:g} s, and the process may stand",
            "restart it",
        ) from error
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return (last or f"the loader ended with {process.returncode}") if process.returncode else ""


def _socket_of(target: Process) -> Path:
    told = target.environ.get("MEMWATCH_HOOK_DIR", "")
    folder = told if told.startswith("/") else f"/tmp/memwatch-{target.uid}"
    status = procfs.status(f"/proc/{target.pid}")
    inner = status.inner_pid if status else target.pid
    return target.root / folder.lstrip("/") / f"python-{inner}-{target.start_ticks}.sock"


def _is_there(socket: Path) -> bool:
    try:
        return socket.is_socket()
    except OSError:
        return False


async def _appeared(target: Process, socket: Path) -> None:
    try:
        async with asyncio.timeout(LISTEN_SECONDS):
            while not await asyncio.to_thread(_is_there, socket):  # noqa: ASYNC110 another's file
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise CaptureFailedError(
            target.pid,
            f"it was told to load the hook and has not within {LISTEN_SECONDS:g} s: its main "
            "thread has run no Python code since, or the hook cannot start",
            "it loads the hook when it next runs; try again then",
        ) from error
