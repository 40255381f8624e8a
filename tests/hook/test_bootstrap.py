"""The ways in (sitecustomize on PYTHONPATH, start(), -m memwatch_hook) and the ways to stay out."""

import os
import subprocess
import time

import pytest

from tests.hook.client import connected, sockets, wait_for_sockets
from tests.hook.walkers import HOOK

WAIT = "import time; time.sleep(60)"


def run(python, *command, **env):
    """Runs a program to its end, with the hook's bootstrap on its path."""
    path = os.pathsep.join([str(HOOK / "bootstrap"), str(HOOK), env.pop("PATH_AFTER", "")])
    return subprocess.run(
        [python, *command],
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_apps_own_sitecustomize_runs_too(python, hook_dir, tmp_path):
    """The one that ours hides runs under its own name and place."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.own = __file__")
    code = "import sys, sitecustomize; print(sys.own); print(sitecustomize.__file__)"
    done = run(python, "-c", code, PATH_AFTER=str(tmp_path), MEMWATCH_HOOK_DIR=str(hook_dir))
    assert done.stdout.splitlines() == [str(tmp_path / "sitecustomize.py")] * 2


def test_a_broken_sitecustomize_is_reported_as_without_us(some_python, hook_dir, tmp_path):
    """Python prints the app's fault and starts, as it does without the hook."""
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('own fault')")
    done = run(
        some_python, "-c", "print(1)", PATH_AFTER=str(tmp_path), MEMWATCH_HOOK_DIR=str(hook_dir)
    )
    assert done.stdout == "1\n"
    assert "ValueError: own fault" in done.stderr


@pytest.mark.parametrize("value", ["off", "OFF", "0"])
def test_one_variable_switches_it_off(some_python, hook_dir, value):
    """MEMWATCH_HOOK=off: no thread, no socket, no module but the package itself."""
    code = "import sys; print('memwatch_hook.server' in sys.modules)"
    done = run(some_python, "-c", code, MEMWATCH_HOOK=value, MEMWATCH_HOOK_DIR=str(hook_dir))
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert os.listdir(hook_dir) == []


@pytest.mark.parametrize("directory", ["/proc/nowhere", "/dev/null/x", "/tmp/" + "x" * 120])
def test_a_directory_that_cannot_be_used_is_silent(some_python, directory):
    """Unwritable, not a directory, a path too long for a socket: the app runs as ever."""
    code = "import time; time.sleep(0.2); print('fine')"
    done = run(some_python, "-W", "error", "-c", code, MEMWATCH_HOOK_DIR=directory)
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)


def test_tools_are_left_alone(some_python, hook_dir):
    """Pip and friends get no hook."""
    done = run(some_python, "-m", "pip", "--version", MEMWATCH_HOOK_DIR=str(hook_dir))
    assert done.stdout.startswith("pip ")
    assert os.listdir(hook_dir) == []


def test_nothing_that_gevent_patches_is_imported(python, hook_dir):
    """With the hook running, threading and socket are as unloaded as without."""
    code = (
        "import sys; print({'threading', 'socket', 'ssl', 'queue', 'logging'} & set(sys.modules))"
    )
    bare = subprocess.run([python, "-S", "-c", code], capture_output=True, text=True, check=True)
    start = f"import sys; sys.path.insert(0, {str(HOOK)!r}); import memwatch_hook; "
    started = "memwatch_hook.start(); import time; time.sleep(0.3); "
    env = {**os.environ, "MEMWATCH_HOOK_DIR": str(hook_dir)}
    done = subprocess.run(
        [python, "-S", "-c", start + started + code],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == bare.stdout


def test_start_and_stop(some_python, hook_dir):
    """start() opens the socket once, stop() removes it, and start() opens it again."""
    code = f"""
import os, sys, time
sys.path.insert(0, {str(HOOK)!r})
import memwatch_hook
folder = os.environ["MEMWATCH_HOOK_DIR"]
def wait(count):
    for _ in range(500):
        if len(os.listdir(folder)) == count:
            return
        time.sleep(0.01)
    raise SystemExit(f"{{os.listdir(folder)}}, not {{count}}")
for _ in range(2):
    assert memwatch_hook.start() and memwatch_hook.start()
    wait(1)
    memwatch_hook.stop()
    memwatch_hook.stop()
    wait(0)
print("done")
"""
    env = {**os.environ, "MEMWATCH_HOOK_DIR": str(hook_dir)}
    done = subprocess.run(
        [some_python, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_runner_runs_a_file(some_python, hooked, hook_dir, tmp_path):
    """Python -m memwatch_hook app.py args: the program sees its own argv, path and name."""
    (tmp_path / "beside.py").write_text("VALUE = 5")
    app = tmp_path / "app.py"
    app.write_text(
        "import sys, beside, time\nassert __name__ == '__main__' and beside.VALUE == 5\n"
        "assert sys.argv[1:] == ['--flag', 'x'], sys.argv\ntime.sleep(60)\n"
    )
    path = {"PYTHONPATH": str(HOOK)}
    with hooked(some_python, "-m", "memwatch_hook", app, "--flag", "x", **path) as target:
        [socket] = wait_for_sockets(hook_dir, pid=target.pid)
        time.sleep(0.2)
        assert target.poll() is None, (hook_dir / "log").read_text()
        with connected(socket) as client:
            info = client.ask("info").body["result"]
    assert info["argv"] == [str(app), "--flag", "x"]
    assert info["main"] == str(app)


def test_runner_runs_a_module(some_python, hooked, hook_dir):
    """Python -m memwatch_hook -m module."""
    path = {"PYTHONPATH": str(HOOK)}
    with hooked(some_python, "-m", "memwatch_hook", "-m", "http.server", "0", **path) as target:
        [socket] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(socket) as client:
            assert client.ask("info").body["result"]["argv"][1:] == ["0"]


def test_runner_without_a_program_says_how(some_python):
    """No program: usage on stderr and status 2."""
    done = run(some_python, "-m", "memwatch_hook")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m memwatch_hook")


def test_exit_is_not_delayed_and_leaves_nothing(python, hook_dir):
    """A process with a hook ends by itself, with its own status, and removes its socket."""
    code = "import time, sys; time.sleep(0.2); sys.exit(7)"
    done = run(python, "-c", code, MEMWATCH_HOOK_DIR=str(hook_dir))
    assert (done.returncode, done.stderr) == (7, "")
    assert os.listdir(hook_dir) == []


def test_exit_during_a_snapshot_is_not_delayed(python, hooked, hook_dir):
    """An app that ends while its heap is walked ends at once, and its child with it."""
    walked = hook_dir / "walked"
    code = (
        "import os, sys, time; x = [str(i) for i in range(300000)]\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)"
    )
    with hooked(python, "-c", code, walked) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            client.request("heap", gc=False)
            client.frame()
            walked.touch()
            assert target.wait(20) == 0
            with pytest.raises((EOFError, ConnectionError)):
                client.answer()


def test_a_killed_process_is_tidied_up_by_the_next(some_python, hooked, hook_dir):
    """The socket of a process that was killed goes when another hook starts."""
    with hooked(some_python, "-c", WAIT) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        target.kill()
        target.wait()
    assert path.exists()
    with hooked(some_python, "-c", WAIT) as target:
        wait_for_sockets(hook_dir, pid=target.pid)
        assert sockets(hook_dir) == sockets(hook_dir, target.pid)


def test_the_socket_is_the_owners_alone(some_python, hooked, hook_dir):
    """Mode 0600, also at the moment it appears."""
    with hooked(some_python, "-c", WAIT) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_process_without_a_hook_directory_gets_one(some_python, hooked, hook_dir):
    """The directory is made with mode 0700."""
    folder = hook_dir / "made"
    with hooked(some_python, "-c", WAIT, MEMWATCH_HOOK_DIR=str(folder)) as target:
        wait_for_sockets(folder, pid=target.pid)
        assert folder.stat().st_mode & 0o777 == 0o700
