"""The state directory: one agent's id, and the lock that keeps a second agent out."""

import fcntl
import os
import re
import secrets
from pathlib import Path
from types import TracebackType

from memwatch_agent.errors import StateDirError

_AGENT_ID = re.compile(r"a-[0-9a-f]{20}")


class StateDir:
    """An agent's own directory, held by a lock for as long as the block runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def __enter__(self) -> "StateDir":
        """Makes the directory (0700) and takes its lock.

        Raises:
            StateDirError: it cannot be made or written, or another agent holds it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock = os.open(self.path / "lock", flags, 0o600)
        except OSError as error:
            raise StateDirError(str(self.path), error.strerror or str(error)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            cause = "another agent uses it; give each agent its own --state-dir"
            raise StateDirError(str(self.path), cause) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    def agent_id(self) -> str:
        """The agent's id, the same after every restart; made at the first start."""
        file = self.path / "agent-id"
        try:
            known = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            known = ""
        if _AGENT_ID.fullmatch(known):
            return known
        made = f"a-{secrets.token_hex(10)}"
        write_atomically(file, made.encode() + b"\n")
        return made


def write_atomically(path: Path, data: bytes) -> None:
    """Puts a small file in place so that a reader sees the old one or the new one, never a part.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
