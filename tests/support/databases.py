"""Databases for tests: SQLite in a folder, and PostgreSQL where its programs are installed."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import free_port

#: Where Debian puts PostgreSQL's programs, besides the PATH.
_DEBIAN = Path("/usr/lib/postgresql")


def postgres_program(name: str) -> Path | None:
    """A program of PostgreSQL's server; None where it is not installed."""
    found = sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)
    on_path = shutil.which(name)
    return found[0] if found else Path(on_path) if on_path else None


def postgres_missing() -> str:
    """Why there is no PostgreSQL to test with; empty where there is one."""
    if postgres_program("initdb") is None or postgres_program("pg_ctl") is None:
        return "no PostgreSQL server is installed (Debian: postgresql-15)"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root and there is no user postgres"
    return ""


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a fresh PostgreSQL server that runs for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="memwatch-pg-") as folder:
        data, port = Path(folder) / "data", free_port()
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user, user)

        def run(program: str, *arguments: str) -> None:
            binary = postgres_program(program)
            command = [str(binary), "-D", str(data), *arguments]
            log = (Path(folder) / "log").open("ab")
            with log:
                subprocess.run(
                    command, check=True, stdout=log, stderr=log, cwd="/", user=user, group=user
                )

        run("initdb", "-A", "trust", "-U", "memwatch", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        run("pg_ctl", "-o", options, "-w", "-t", "60", "start")
        try:
            yield f"postgresql://memwatch@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "-w", "stop")


def _has_user(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False
