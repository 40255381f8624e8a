"""Finds the Node and CPython processes that are visible in /proc, cheaply enough to do it often.

A process is looked at closely once; after that a scan only checks that pid, start time, name
and executable are still the same. What ends meanwhile or may not be read is left out or listed
with what is known, and never breaks a scan.
"""

import hashlib
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memwatch_agent import procfs, roles, runtimes
from memwatch_agent.containers import Container, container_of
from memwatch_agent.drivers.base import Process, Runtime

#: What the agent looks at in a process's environment; the rest may be secret and is not kept.
ENVIRON_PREFIXES = ("NODE_OPTIONS", "PYTHONPATH", "MEMWATCH_", *roles.ENVIRON)

#: A target's command line is cut here.
MAX_COMMAND_CHARS = 512

#: More than one pod or host runs; a listing is cut here, lowest pids first.
MAX_PROCESSES = 1_000

_OUR_MODULES = ("memwatch_agent", "memwatch_controller", "memwatchctl")
_OUR_SCRIPTS = ("memwatch-agent", "memwatch-controller", "memwatchctl")
#: What a child calls itself that Node's hook forks for a snapshot (hook/node/fork/child.c).
SNAPSHOT_CHILD = "memwatch-snap"
# Launchers that stay as the parent of the service, and helpers of the runtime: nobody's service.
_TOOLS = ("npm-cli.js", "npx-cli.js", "npm", "npx", "yarn", "yarn.js", "pnpm", "pnpm.cjs", "pip")
_PYTHON_HELPERS = (
    "from multiprocessing.resource_tracker import",
    "from multiprocessing.forkserver",
)

_SCRIPT_ENDINGS = (".js", ".cjs", ".mjs", ".ts", ".py", ".pyc")

_NODE_VALUE_OPTIONS = frozenset(
    ("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions")
)
_PYTHON_VALUE_OPTIONS = frozenset(("-X", "-W", "--check-hash-based-pycs"))


@dataclass(frozen=True)
class Found:
    """One process, and what decides whether and how it can be captured.

    Attributes:
        pid: in the agent's pid namespace.
        start_ticks: field 22 of /proc/PID/stat; with the pid it names one process for ever.
        inner_pid: the pid as the process sees itself.
        runtime: None for a process that was asked for by pid and is neither Node nor Python.
        exe: what /proc/PID/exe points at; empty where it cannot be read.
        environ: its variables that matter here; None where they cannot be read.
        container: where it runs.
        service: the name it gives itself; empty where it gives none.
        start_seconds: Unix time at which it started.
        same_network: whether it shares the agent's network namespace; None where unknown.
        root: its root directory as the agent reaches it.
        catches_sigusr1: whether it has a handler for SIGUSR1.
        visible: whether the pid is one of the agent's pid namespace; a process that is known
            by its hook alone is not.
        threads: how many threads it has.
        parent: the pid of its parent.
        role: what it is among others, such as "cluster worker 2"; see `roles`.
        worker_threads: how many worker_threads of Node it has, as far as names of threads tell.
    """

    pid: int
    start_ticks: int
    inner_pid: int
    runtime: Runtime | None
    version: str
    uid: int
    exe: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] | None
    container: Container
    service: str
    start_seconds: float
    same_network: bool | None
    root: Path
    catches_sigusr1: bool
    visible: bool = True
    threads: int = 1
    parent: int = 0
    role: str = ""
    worker_threads: int = 0

    @property
    def command(self) -> str:
        """The command line, cut for people."""
        return " ".join(self.argv)[:MAX_COMMAND_CHARS]

    def id(self, host: str) -> str:
        """The target's id; `host` is the pod's uid, or the boot's id outside of pods."""
        where = self.container.pod_uid or host
        parts = (where, self.container.container_id, str(self.inner_pid), str(self.start_ticks))
        return "t-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]

    def process(self, hook_socket: Path | None) -> Process:
        """What a driver needs to know; only where the runtime is known."""
        assert self.runtime is not None
        return Process(
            pid=self.pid,
            start_ticks=self.start_ticks,
            runtime=self.runtime,
            version=self.version,
            uid=self.uid,
            exe=self.exe,
            argv=self.argv,
            environ=self.environ or {},
            root=self.root,
            hook_socket=hook_socket,
            visible=self.visible,
        )


@dataclass(frozen=True)
class _Key:
    """What tells that a pid still is the process, and the program, that was looked at."""

    start_ticks: int
    name: str
    exe: str


class ProcessTable:
    """The processes of one /proc."""

    def __init__(self, proc: Path = Path("/proc"), only: Collection[int] = ()) -> None:
        """`only`: pids that are targets, whatever they run; empty: every Node and CPython."""
        self.proc = proc
        self._only = frozenset(only)
        self._versions = runtimes.NodeVersions()
        self._known: dict[int, tuple[_Key, Found | None]] = {}
        self._boot_seconds = procfs.boot_seconds(proc)
        self._own_network = procfs.link(proc / "self/ns/net")
        self._own_mounts = procfs.link(proc / "self/ns/mnt")
        self._own_pid = os.getpid()

    def scan(self) -> list[Found]:
        """Every target that is there now, by pid. Reads /proc: call it off the event loop."""
        known = {}
        for pid in self._only or procfs.pids(self.proc):
            if (seen := self._look(pid)) is not None:
                known[pid] = seen
        self._known = known
        found = [found for _, found in known.values() if found is not None]
        found = sorted(found, key=lambda found: found.pid)[:MAX_PROCESSES]
        leads = frozenset(one.parent for one in found if roles.is_cluster_worker(one.environ))
        return [_with_role(one, one.pid in leads) for one in found]

    def start_seconds(self, start_ticks: int) -> float:
        """The Unix time of a process's start ticks."""
        return self._boot_seconds + start_ticks / procfs.CLOCK_TICKS

    def _look(self, pid: int) -> tuple[_Key, Found | None] | None:
        """The process as known from before, or looked at closely; None where it is gone."""
        folder = f"{self.proc}/{pid}"
        stat = procfs.stat(folder)
        if stat is None or stat.ended or (pid == self._own_pid and not self._only):
            return None
        key = _Key(stat.start_ticks, stat.name, procfs.link(f"{folder}/exe") or "")
        before = self._known.get(pid)
        if before is None or before[0] != key:
            return key, self._examine(pid, folder, key, stat.parent)
        if before[1] is None:
            return before
        status = procfs.status(folder)  # a handler may have come or gone
        if status is None:
            return None
        catches = status.catches(signal.SIGUSR1)
        known = replace(before[1], catches_sigusr1=catches, parent=stat.parent)
        if status.threads != known.threads:
            workers = _worker_threads(known.runtime, folder)
            known = replace(known, threads=status.threads, worker_threads=workers)
        return key, known

    def _examine(self, pid: int, folder: str, key: _Key, parent: int) -> Found | None:
        """Everything about one process; None where it is no target."""
        argv = tuple(procfs.strings(procfs.read(f"{folder}/cmdline")))
        runtime = runtimes.runtime_of(key.exe, argv)
        if runtime is None and runtimes.embeds_python(key.exe, folder):
            runtime = Runtime.PYTHON
        status = procfs.status(folder)
        if status is None:
            return None
        nobodys = runtime is None or is_tool(runtime, argv) or key.name == SNAPSHOT_CHILD
        if pid not in self._only and nobodys:
            return None
        environ = procfs.environ(folder, ENVIRON_PREFIXES)
        network = procfs.link(f"{folder}/ns/net")
        return Found(
            pid=pid,
            start_ticks=key.start_ticks,
            inner_pid=status.inner_pid,
            runtime=runtime,
            version=self._version(runtime, key.exe, folder),
            uid=status.uid,
            exe=key.exe,
            argv=argv,
            environ=environ,
            container=container_of(_text(f"{folder}/cgroup"), _text(f"{folder}/mountinfo")),
            service=(environ or {}).get("MEMWATCH_SERVICE_NAME", "")
            or roles.pm2_of(environ or {}).name,
            start_seconds=self.start_seconds(key.start_ticks),
            same_network=network == self._own_network if network else None,
            root=self._root(folder),
            catches_sigusr1=status.catches(signal.SIGUSR1),
            threads=status.threads,
            parent=parent,
            worker_threads=_worker_threads(runtime, folder),
        )

    def _version(self, runtime: Runtime | None, exe: str, folder: str) -> str:
        if runtime is Runtime.NODE:
            return self._versions.version(folder, exe)
        return runtimes.python_version(exe, folder) if runtime is Runtime.PYTHON else ""

    def _root(self, folder: str) -> Path:
        mounts = procfs.link(f"{folder}/ns/mnt")
        if mounts == self._own_mounts and procfs.link(f"{folder}/root") == "/":
            return Path("/")
        return Path(folder, "root")


def _with_role(found: Found, leads: bool) -> Found:
    if found.runtime is not Runtime.NODE:
        return found
    role = roles.role_of(found.argv, found.environ or {}, leads)
    return replace(found, role=role) if role != found.role else found


def _worker_threads(runtime: Runtime | None, folder: str) -> int:
    return roles.worker_threads(folder) if runtime is Runtime.NODE else 0


def is_tool(runtime: Runtime, argv: Sequence[str]) -> bool:
    """Whether a process is memwatch itself, a launcher or a helper: nobody's service."""
    if runtime is Runtime.PYTHON and "-c" in argv[1:]:
        code = argv[list(argv).index("-c", 1) + 1 :][:1]
        return any(part.startswith(_PYTHON_HELPERS) for part in code)
    name = script_name(runtime, argv)
    return name.partition(".")[0] in _OUR_MODULES or name in (*_OUR_SCRIPTS, *_TOOLS)


def script_name(runtime: Runtime, argv: Sequence[str]) -> str:
    """The file name or module that a command line runs; empty where it runs none."""
    takes_value = _NODE_VALUE_OPTIONS if runtime is Runtime.NODE else _PYTHON_VALUE_OPTIONS
    parts = iter(argv[1:])
    for part in parts:
        if part == "-m" and runtime is Runtime.PYTHON:
            return next(parts, "")
        if part in ("-c", "-e", "--eval", "-p", "--print", "-"):
            return ""
        if part in takes_value:
            next(parts, "")
        elif not part.startswith("-"):
            return os.path.basename(part)
    return ""


def service_name(runtime: Runtime | None, argv: Sequence[str]) -> str:
    """What to call a process that names itself nothing: its script, without the ending."""
    script = script_name(runtime, argv) if runtime else ""
    plain = os.path.splitext(script)[0] if script.endswith(_SCRIPT_ENDINGS) else script
    return plain or os.path.basename(argv[0] if argv else "") or "unknown"


def _text(path: str) -> str:
    return (procfs.read(path) or b"").decode("utf-8", "replace")
