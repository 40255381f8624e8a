"""`loaders.py`: scripts for processes that open them when they like."""

import os
import subprocess
import sys
from pathlib import Path

from memwatch_agent.drivers.base import Process, Runtime
from memwatch_agent.drivers.loaders import Loaders
from memwatch_agent.procfs import stat
from tests.support.processes import running

FAKE = "import sys\ndef start():\n    print('started', flush=True)\n"


def of(pid):
    found = stat(f"/proc/{pid}")
    assert found is not None
    return Process(pid, found.start_ticks, Runtime.PYTHON, uid=os.getuid())


def test_a_script_loads_the_hook_and_removes_itself(tmp_path):
    """It leaves no file, no name and no folder on the path."""
    folder = tmp_path / "it's"
    (folder / "memwatch_hook").mkdir(parents=True)
    (folder / "memwatch_hook/__init__.py").write_text(FAKE)
    script = Loaders().write(of(os.getpid()), folder)
    code = f"exec(open({str(script)!r}).read()); import sys; print(dir(), sys.path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("started\n")
    assert "memwatch" not in done.stdout
    assert "it's" not in done.stdout
    assert not script.parent.exists()


def test_a_script_stays_until_its_process_has_ended():
    """The next one for the same process replaces it; those of the dead go."""
    loaders = Loaders()
    with running(["/bin/sleep", "60"]) as target:
        process = of(target.pid)
        first = loaders.write(process, Path("/opt/hook"))
        second = loaders.write(process, Path("/opt/hook"))
        loaders.tidy()
        assert not first.exists()
        assert second.exists()
    loaders.tidy()
    assert not second.parent.exists()
    loaders.drop(process)
