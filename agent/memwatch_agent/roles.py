"""What a Node process is among others: of a cluster, of PM2, and with how many worker threads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memwatch_agent import procfs

#: Variables that tell it: of Node's cluster module, and of PM2 in its two modes. Only the
#: environment that a process was started with can be seen, not what it has changed since.
ENVIRON = ("NODE_UNIQUE_ID", "pm_id", "pm2_env", "name")

#: How Node 24 and later call the thread of a worker; older ones call every thread "node".
_WORKER_THREAD = b"WorkerThread"

_PM2_DAEMON = "PM2 v"

_MAX_WORD_CHARS = 100
_MAX_THREADS = 1_000


@dataclass(frozen=True)
class Pm2:
    """What PM2 calls a process; empty where it is not one of its own."""

    name: str = ""
    id: str = ""


def pm2_of(environ: Mapping[str, str]) -> Pm2:
    """PM2's name of a process, by its environment. Pure.

    PM2 passes its variables one by one (fork mode), or as JSON in one (cluster mode).
    """
    told: Mapping[str, object] = environ
    if "pm2_env" in environ:
        try:
            parsed = json.loads(environ["pm2_env"])
        except (ValueError, RecursionError):
            parsed = None
        told = parsed if isinstance(parsed, dict) else {}
    id_ = _word(told.get("pm_id"))
    return Pm2(_word(told.get("name")), id_) if id_.isdigit() else Pm2()


def role_of(argv: Sequence[str], environ: Mapping[str, str], leads: bool) -> str:
    """What a process is, in words; empty for a process of its own. Pure.

    `leads`: whether workers of Node's cluster module are its children.
    """
    roles = []
    if argv and argv[0].startswith(_PM2_DAEMON):
        roles.append("pm2 daemon")
    elif leads:
        roles.append("cluster primary")
    if number := _word(environ.get("NODE_UNIQUE_ID")):
        roles.append(f"cluster worker {number}")
    pm2 = pm2_of(environ)
    if pm2.id:
        roles.append(f"pm2 {pm2.id}")
    return ", ".join(roles)


def is_cluster_worker(environ: Mapping[str, str] | None) -> bool:
    """Whether Node's cluster module started a process."""
    return bool(environ and environ.get("NODE_UNIQUE_ID", "").isdigit())


def worker_threads(folder: str) -> int:
    """How many worker_threads a Node process has, by their names; 0 before Node 24. Reads /proc."""
    names = (
        procfs.read(f"{folder}/task/{thread}/comm")
        for thread, _ in zip(procfs.threads(folder), range(_MAX_THREADS), strict=False)
    )
    return sum(1 for name in names if name and name.strip() == _WORKER_THREAD)


def _word(value: object) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return "".join(letter for letter in text if letter.isprintable())[:_MAX_WORD_CHARS]
