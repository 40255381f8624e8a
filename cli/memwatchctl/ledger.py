"""The undo ledger: what was changed around a service, written down before it is done.

One file for each change that goes on, in the user's state folder: a first line that says how
everything was, then one line for each step. Every line is on the disk before its step begins,
so that what a kill -9 left half-way is told and undone: by the guardian, by the next run, or
by `memwatchctl isolate undo`. Its owner holds a lock on it, which the kernel takes away from a
dead one.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from memwatchctl.errors import FileError

_SUFFIX = ".jsonl"

#: Addresses of containers that were fixed once are remembered for so many, the newest.
MAX_KEPT = 1000


@dataclass(frozen=True)
class Entry:
    """What a ledger file says.

    Attributes:
        id: the change's name.
        before: how everything was.
        steps: what was begun, with the time in seconds since the epoch.
    """

    id: str
    before: Mapping[str, Any]
    steps: tuple[tuple[float, str], ...]


@dataclass
class Held:
    """An entry whose lock this process holds, for the length of a block.

    Attributes:
        path, entry: the file and what it says.
        done: whether the change is undone, so that the entry can be forgotten.
    """

    path: Path
    entry: Entry
    _descriptor: int = field(repr=False)
    done: bool = False

    def write(self, step: str) -> None:
        """Notes a step, on the disk, before it is done.

        Raises:
            FileError: it cannot be written, so that the step must not be done.
        """
        _append(self.path, self._descriptor, {"time": time.time(), "step": step})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Lets go of it; a change that is undone is forgotten."""
        if self.done:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


class Ledger:
    """The ledger of this user on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_user(cls) -> Self:
        """The one in the user's state folder."""
        import platformdirs

        return cls(Path(platformdirs.user_state_dir("memwatch")) / "isolations")

    def open(self, change_id: str, before: Mapping[str, Any]) -> Held:
        """Begins a change.

        Raises:
            FileError: it cannot be written down, so that it must not be begun.
        """
        path = self._path(change_id)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND
            descriptor = os.open(path, flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise FileError("write", path, error) from error
        _append(path, descriptor, {"id": change_id, "before": before})
        return Held(path, Entry(change_id, before, ()), descriptor)

    def take(self, change_id: str) -> Held | None:
        """An entry to be undone; None where it is gone or its owner still lives."""
        path = self._path(change_id)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and lock another may have undone it.
            if (entry := self._read(path)) is not None:
                return Held(path, entry, descriptor)
        os.close(descriptor)
        return None

    def entries(self) -> Iterator[Entry]:
        """What goes on or was left, oldest first."""
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda p: p.name):
                if (entry := self._read(path)) is not None:
                    yield entry

    def is_owned(self, change_id: str) -> bool:
        """Whether the command that began a change still lives."""
        if (held := self.take(change_id)) is None:
            return self._path(change_id).exists()
        with held:
            return False

    def kept(self, container_id: str) -> Mapping[str, str]:
        """The addresses that we fixed for a container, by network."""
        return dict(self._kept().get(container_id, {}))

    def keep(self, container_id: str, addresses: Mapping[str, str]) -> None:
        """Remembers addresses that stay fixed after a change is undone."""
        known = {k: v for k, v in self._kept().items() if k != container_id}
        known = dict(list(known.items())[-MAX_KEPT + 1 :]) | {container_id: dict(addresses)}
        part = self.folder / f"kept.{os.getpid()}.part"
        try:
            part.write_text(json.dumps(known))
            part.replace(self.folder / "kept.json")
        except OSError as error:
            raise FileError("write", part, error) from error

    def _kept(self) -> dict[str, dict[str, str]]:
        try:
            return dict(json.loads((self.folder / "kept.json").read_text()))
        except (OSError, ValueError):
            return {}

    def _path(self, change_id: str) -> Path:
        assert change_id.replace("-", "").isalnum(), change_id
        return self.folder / f"{change_id}{_SUFFIX}"

    def _read(self, path: Path) -> Entry | None:
        """What a file says; None where it was cut before anything was changed."""
        try:
            lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line]
            head, *steps = lines
            return Entry(head["id"], head["before"], tuple((s["time"], s["step"]) for s in steps))
        except (OSError, ValueError, KeyError):
            return None


def _append(path: Path, descriptor: int, value: Mapping[str, Any]) -> None:
    try:
        os.write(descriptor, json.dumps(value).encode() + b"\n")
        os.fsync(descriptor)
    except OSError as error:
        raise FileError("write", path, error) from error
