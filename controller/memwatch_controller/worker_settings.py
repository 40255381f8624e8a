"""What a worker is told at its start: a part of the controller's flags, with the same twins."""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from memwatch_controller import flags
from memwatch_controller.errors import StartError
from memwatch_controller.flags import LOG_LEVELS, Parser, address_of, choice_of, number_of
from memwatch_controller.settings import ENV_PREFIX

#: Where blobs may lie that several machines read.
_REMOTE = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "https")


@dataclass(frozen=True)
class WorkerSettings:
    """A worker's settings, checked.

    Attributes:
        database_url: the controller's; PostgreSQL.
        blob_url: the controller's; not a directory.
        work_dir: for copies of the snapshots that are analysed.
        http_listen: "host:port" or "unix:/path" of probes and metrics; empty: none.
        analyses: how many run at once.
        analysis_memory_mib: memory of one of them; 0: three quarters of the machine's.
        analysis_seconds: time of one of them.
        name: of this program; no other has it.
    """

    database_url: str
    blob_url: str
    work_dir: Path
    http_listen: str
    log_level: str
    analyses: int
    analysis_memory_mib: int
    analysis_seconds: float
    name: str


_FLAGS = (
    ("database-url", "URL", "the controller's postgresql://…", ""),
    ("blob-url", "URL", "the controller's s3://…, gs://… or az://…", ""),
    ("work-dir", "DIR", "for copies of the snapshots that are analysed (temporary)", ""),
    ("http-listen", "ADDR", "host:port or unix:/path of probes and /metrics, or 'off'", "off"),
    ("log-level", "LEVEL", f"one of {', '.join(LOG_LEVELS)}", "info"),
    ("analysis-workers", "N", "analyses at once; the same for all programs that do any", "1"),
    ("analysis-memory-mib", "N", "memory of one of them; 0: 3/4 of the machine's", "0"),
    ("analysis-seconds", "N", "time of one of them", "1800"),
)


def parse(argv: Sequence[str], environ: Mapping[str, str], name: str) -> WorkerSettings:
    """The settings of a command line (without `worker`) and an environment.

    Raises:
        StartError: a value that cannot be used.
        SystemExit: `--help`, or a flag that does not exist.
    """
    given = _parser().parse_args(argv)
    value = flags.reader(given, _FLAGS, environ, ENV_PREFIX)
    http = value("http_listen")
    settings = WorkerSettings(
        database_url=value("database_url"),
        blob_url=value("blob_url"),
        work_dir=Path(value("work_dir") or _default_work_dir()),
        http_listen="" if http == "off" else address_of("--http-listen", http),
        log_level=choice_of("--log-level", value("log_level"), LOG_LEVELS),
        analyses=int(number_of("--analysis-workers", value("analysis_workers"), 1, 64)),
        analysis_memory_mib=int(
            number_of("--analysis-memory-mib", value("analysis_memory_mib"), 0, 1 << 24)
        ),
        analysis_seconds=number_of("--analysis-seconds", value("analysis_seconds"), 1, 86_400),
        name=name,
    )
    _check_shared(settings)
    return settings


def _check_shared(settings: WorkerSettings) -> None:
    """Refuses a database or a store that other machines do not see."""
    if urlsplit(settings.database_url).scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise StartError(
            f"--database-url '{_kind(settings.database_url)}'",
            "a worker takes its work from a queue in PostgreSQL; "
            "pass the controller's postgresql://…",
        )
    if urlsplit(settings.blob_url).scheme not in _REMOTE:
        raise StartError(
            f"--blob-url '{_kind(settings.blob_url)}'",
            "a worker reads snapshots from a store that all machines see; "
            "pass the controller's s3://…, gs://… or az://…",
        )


def _kind(url: str) -> str:
    """What may be told of a URL: it can hold a password."""
    return f"{urlsplit(url).scheme}://…" if "://" in url else url


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="memwatch-controller worker",
        description="Does analyses for a controller, on this machine: takes them from the "
        "queue in the controller's database, reads the snapshots from its store, writes reports.",
        epilog=f"Every flag has a twin {ENV_PREFIX}<FLAG>, the same as the controller's.",
    )
    flags.declare(parser, _FLAGS)
    return parser


def _default_work_dir() -> Path:
    """One for all workers of this user; what a killed one left is removed by the next."""
    return Path(tempfile.gettempdir()) / f"memwatch-worker-{os.getuid()}"
