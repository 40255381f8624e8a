"""What a snapshot's child says on its status pipe, as the app's side hears it.

Lines of JSON: `{"progress": [stage, done, total]}` now and then, at the end one with what came of
it. Before them `<` and `>`, where a frame went onto the connection in parts: see `outlet.Frames`.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 4 << 20  # of the child's last words, which list the chunks of a heap


class Status:
    """The pipe's reading end, and what came through it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.cut_frame = False  # the child is within a frame on the connection
        self.last_words: dict[str, Any] = {}
        self._heard = bytearray()
        self._progress: list[Any] | None = None

    def hear(self) -> bool:
        """Takes in what there is; whether the child has closed its end."""
        try:
            while len(self._heard) <= MAX_BYTES:
                heard = os.read(self.reader, 65536)
                if not heard:
                    self._understand()
                    return True
                self._heard += heard
        except BlockingIOError:
            pass
        self._understand()
        return False

    def progress(self) -> list[Any] | None:
        """The newest stage, done, total since the last call."""
        said, self._progress = self._progress, None
        return said

    def close_writer(self) -> None:
        """Leaves the writing end to the child."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Closes both ends. At any time."""
        self.close_writer()
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def _understand(self) -> None:
        while self._heard and self._heard[0] in b"<>":
            self.cut_frame = self._heard[0] == ord("<")
            del self._heard[0]
        while b"\n" in self._heard:
            line, _, rest = self._heard.partition(b"\n")
            self._heard = bytearray(rest)
            try:
                facts = json.loads(line.decode())
            except ValueError:
                continue
            if "progress" in facts:
                self._progress = facts["progress"]
            else:
                self.last_words = facts
