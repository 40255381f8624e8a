"""`install.py`: a `.pth` hooks `-E` and `-I`, where PYTHONPATH is ignored."""

import os
import subprocess

from tests.hook.client import connected, sockets, wait_for_sockets
from tests.hook.walkers import HOOK
from tests.support import processes

WAIT = "import time; time.sleep(60)"


def run(python, *arguments, **env):
    return subprocess.run(
        [python, *arguments],
        env={**os.environ, "PYTHONPATH": str(HOOK), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_pth_hooks_an_isolated_python_and_goes_again(some_python, hook_dir, tmp_path):
    """Installed once: -I and -E are hooked, the app's path is not hidden; removed: they are not."""
    venv, env = tmp_path / "venv", {"MEMWATCH_HOOK_DIR": str(hook_dir)}
    subprocess.run([some_python, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    done = run(python, "-m", "memwatch_hook", "install", "--pth")
    assert (done.returncode, done.stderr) == (0, "")
    [path] = venv.glob("lib/python*/site-packages/memwatch-hook.pth")
    assert done.stdout == f"wrote {path}\n"

    for option in ("-I", "-E"):
        with processes.running([python, option, "-c", WAIT], env=env) as target:
            [socket] = wait_for_sockets(hook_dir, pid=target.pid)
            with connected(socket) as client:
                assert client.ask("info").body["result"]["pid"] == target.pid
    shown = run(python, "-I", "-c", "import sys; print(sys.path[-1])", **env)
    assert (shown.stdout, shown.stderr) == (f"{HOOK}\n", "")

    assert run(python, "-m", "memwatch_hook", "install", "--pth", "--remove").returncode == 0
    shown = run(python, "-I", "-c", "import sys; print('memwatch_hook' in sys.modules)", **env)
    assert shown.stdout == "False\n"


def test_a_pth_whose_hook_is_gone_is_silent(some_python, tmp_path):
    """The line that is left behind neither fails nor says anything."""
    from memwatch_hook import install

    line = install.text().replace(str(HOOK), str(tmp_path / "gone"))
    code = f"exec({line!r}); print('fine')"
    done = run(some_python, "-I", "-W", "error", "-c", code)

    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_folder_that_cannot_be_used_is_named(some_python):
    """Status 1 and the next step; wrong words are status 2."""
    done = run(some_python, "-m", "memwatch_hook", "install", "--pth", "/proc/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot write '/proc/nowhere/memwatch-hook.pth': No such file")
    done = run(some_python, "-m", "memwatch_hook", "install", "--pth", "a", "b")
    assert done.returncode == 2


def test_a_short_process_never_makes_a_socket(some_python, hook_dir):
    """What lives for a blink leaves the folder as it was."""
    path = f"{HOOK / 'bootstrap'}:{HOOK}"
    env = {"PYTHONPATH": path, "MEMWATCH_HOOK_DIR": str(hook_dir)}
    code = "import os; print(os.listdir(os.environ['MEMWATCH_HOOK_DIR']))"
    assert run(some_python, "-c", code, **env).stdout == "[]\n"
    assert sockets(hook_dir) == []
