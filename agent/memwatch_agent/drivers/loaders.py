"""The scripts that load the hook into a process: each is kept until it has been run.

`sys.remote_exec` only tells a process which file to open; its main thread does so when it next runs
Python code, perhaps after the capture was given up. A file that is gone by then would be an error
message among the app's own, so it stays, and the script removes itself.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Process

# In a namespace of its own: the app's `__main__` may be where it runs.
_SCRIPT = "exec({code!r}, {{}})\n"
_CODE = """import os, sys
try:
    os.unlink({script!r})
    os.rmdir({scratch!r})
except OSError:
    pass
sys.path.append({folder!r})
try:
    import memwatch_hook
    memwatch_hook.start()
finally:
    sys.path.remove({folder!r})
"""


class Loaders:
    """Scripts on their way, at most one for each process."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], Path] = {}

    def write(self, target: Process, folder: Path) -> Path:
        """The script for a process, readable and removable by its user where we may arrange that.

        `folder` is the one with the hook's package. An older script for the process is removed:
        the interpreter remembers one path only.
        """
        self.tidy()
        self.drop(target)
        scratch = Path(tempfile.mkdtemp(prefix="memwatch-attach-"))
        script = scratch / "load.py"
        code = _CODE.format(script=str(script), scratch=str(scratch), folder=str(folder))
        script.write_text(_SCRIPT.format(code=code), encoding="utf-8")
        with contextlib.suppress(OSError):
            for path in (scratch, script):
                os.chown(path, target.uid, -1)
        self._waiting[_key(target)] = scratch
        return script

    def drop(self, target: Process) -> None:
        """Removes the script of a process, run or not."""
        if scratch := self._waiting.pop(_key(target), None):
            shutil.rmtree(scratch, ignore_errors=True)

    def tidy(self) -> None:
        """Removes the scripts of processes that have ended."""
        for pid, start in [key for key in self._waiting if not _lives(*key)]:
            shutil.rmtree(self._waiting.pop((pid, start)), ignore_errors=True)


def _key(target: Process) -> tuple[int, int]:
    return target.pid, target.start_ticks


def _lives(pid: int, start_ticks: int) -> bool:
    stat = procfs.stat(f"/proc/{pid}")
    return stat is not None and stat.start_ticks == start_ticks and not stat.ended
