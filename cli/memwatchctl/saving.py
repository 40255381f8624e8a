"""Writes the snapshots of a private session as plain files, each as soon as it is taken."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from memwatchctl import downloads
from memwatchctl.errors import FileError
from memwatchctl.progress import Display, transfer_step
from memwatchctl.text import safe_name

if TYPE_CHECKING:
    from memwatch_proto.v1.snapshots_pb2 import Snapshot
    from memwatchctl.client import Controller


def check_folder(folder: Path) -> None:
    """Makes the folder for the files before anything is captured for it.

    Raises:
        FileError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError("make folder", folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError("write into folder", folder, "permission denied")


def name_of(session_id: str, snapshot: "Snapshot") -> str:
    """`session_<id>_<unixMillis>_<phase>_<iso>.heapsnapshot`, safe whatever the id. Pure."""
    taken = snapshot.capture_time.ToMilliseconds()
    iso = datetime.fromtimestamp(taken / 1000, UTC).strftime("%Y-%m-%dT%H-%M-%S")
    phase = safe_name(snapshot.phase or "single")
    return f"session_{safe_name(session_id)}_{taken}_{phase}_{iso}-{taken % 1000:03d}Z.heapsnapshot"


class Saver:
    """Saves each snapshot of one session below `folder/<session id>/`."""

    def __init__(
        self, controller: "Controller", session_id: str, folder: Path, display: Display
    ) -> None:
        self.files: list[Path] = []
        self._controller, self._session_id, self._display = controller, session_id, display
        self._folder = folder / safe_name(session_id)

    def save(self, snapshot: "Snapshot") -> None:
        """Writes one snapshot.

        Raises:
            CliError: it cannot be written or read.
        """
        path = self._folder / name_of(self._session_id, snapshot)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError("make folder", self._folder, error) from error
        downloads.save(
            lambda offset: self._controller.download(snapshot.id, offset),
            snapshot,
            path,
            downloads.Form.PLAIN,
            overwrite=True,
            on_progress=lambda done, all_: self._display.show(transfer_step("saving", done, all_)),
        )
        self.files.append(path)
        self._display.note(f"saved {path}")
