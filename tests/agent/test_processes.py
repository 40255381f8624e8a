"""`processes.py`: real processes are found and told apart; nothing in /proc breaks a scan."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from memwatch_agent import processes, procfs
from memwatch_agent import runtimes as agent_runtimes
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.processes import ProcessTable, is_tool, script_name, service_name
from tests.support import runtimes
from tests.support.processes import running, wait_until

SLEEP_PY = "import time\ntime.sleep(600)\n"
SLEEP_JS = "setInterval(() => {}, 1000)\n"


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "shop.py"
    file.write_text(SLEEP_PY)
    return file


def look(table: ProcessTable, pid: int):
    """What the table says of a process, once the program itself runs."""
    results: list[processes.Found] = []

    def there() -> bool:
        results[:] = [found for found in table.scan() if found.pid == pid]
        return bool(results)

    wait_until(there, what=f"process {pid} in a scan")
    return results[0]


def test_a_python_process_is_found(script):
    """Runtime, version, service, uid and start time of a real CPython."""
    env = {"MEMWATCH_SERVICE_NAME": "checkout", "SECRET": "x"}
    with running([sys.executable, script, "--port", "1"], env=env) as process:
        found = look(ProcessTable(), process.pid)

    stat_version = "{}.{}".format(*sys.version_info)
    assert (found.runtime, found.version) == (Runtime.PYTHON, stat_version)
    assert found.service == "checkout"
    assert found.uid == os.geteuid()
    assert found.inner_pid == process.pid
    assert found.environ is not None and "SECRET" not in found.environ
    assert found.command.endswith("shop.py --port 1")
    assert found.root == Path("/")
    assert found.same_network is True
    assert abs(found.start_seconds - Path("/proc/self").stat().st_ctime) < 3600


@pytest.mark.parametrize("major", runtimes.NODE_MAJORS)
def test_a_node_process_is_found_with_its_version(tmp_path, major):
    """The version is read from the binary that runs, without running it."""
    binary = runtimes.node(major)
    if binary is None:
        pytest.skip(f"Node {major} is not installed")
    (tmp_path / "web.js").write_text(SLEEP_JS)
    with running([binary, "--no-warnings", tmp_path / "web.js"]) as process:
        table = ProcessTable()
        found = look(table, process.pid)
        wait_until(lambda: look(table, process.pid).catches_sigusr1, what="SIGUSR1 to be caught")

    assert found.runtime is Runtime.NODE
    assert found.version.startswith(f"{major}.")
    assert service_name(found.runtime, found.argv) == "web"


def test_the_version_beside_an_official_build_is_read(tmp_path):
    """An official build's headers tell the version without reading 100 MB."""
    folder = tmp_path / "7"
    header = folder / "root/opt/node/include/node/node_version.h"
    header.parent.mkdir(parents=True)
    header.write_text(
        "#define NODE_MAJOR_VERSION 22\n#define NODE_MINOR_VERSION 1\n"
        "#define NODE_PATCH_VERSION 3\n"
    )
    (folder / "exe").write_bytes(b"")

    versions = agent_runtimes.NodeVersions()
    assert versions.version(folder, "/opt/node/bin/node") == "22.1.3"


def test_a_copied_binary_under_another_name_is_no_target(tmp_path, script):
    """A process is what its executable is called, not what it is fed with."""
    sleep = shutil.which("sleep")
    assert sleep
    with running([sleep, "600"]) as process:
        table = ProcessTable()
        wait_until(lambda: procfs.link(f"/proc/{process.pid}/exe") == os.path.realpath(sleep))
        assert process.pid not in [found.pid for found in table.scan()]


def test_a_process_asked_for_by_pid_is_listed_whatever_it_is():
    """With --pid a process that is neither Node nor Python is there, without a runtime."""
    with running(["sleep", "600"]) as process:
        wait_until(lambda: procfs.link(f"/proc/{process.pid}/exe") or "", what="exec")
        found = look(ProcessTable(only=[process.pid, 2**22]), process.pid)

    assert found.runtime is None


def test_an_exec_is_noticed(tmp_path, script):
    """A shell that becomes a Python keeps pid and start time, and is found."""
    gate = tmp_path / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done; exec {sys.executable} {script}"
    with running(["/bin/sh", "-c", wait]) as process:
        table = ProcessTable()
        assert process.pid not in [found.pid for found in table.scan()]
        gate.touch()
        assert look(table, process.pid).runtime is Runtime.PYTHON


def test_a_zombie_is_no_target(script):
    """A process that has ended and is not reaped yet is not there."""
    with running([sys.executable, script]) as process:
        table = ProcessTable()
        look(table, process.pid)
        process.kill()
        wait_until(lambda: (stat := procfs.stat(f"/proc/{process.pid}")) and stat.ended)
        assert process.pid not in [found.pid for found in table.scan()]


@pytest.fixture
def proc(tmp_path):
    """A fake /proc with one Node process, pid 7."""
    folder = tmp_path / "proc" / "7"
    folder.mkdir(parents=True)
    fields = " ".join([*["0"] * 10, "1", "2", *["0"] * 6, "555", "0", "25"])
    (folder / "stat").write_text(f"7 (node) S {fields}")
    (folder / "status").write_text("Pid:\t7\nUid:\t0\t1000\t0\t0\nNSpid:\t7\t1\nSigCgt:\t200\n")
    (folder / "exe").symlink_to("/usr/local/bin/node")
    (folder / "cmdline").write_bytes(b"node\0/app/bin/www\0")
    return tmp_path / "proc"


def test_a_fake_process_is_understood(proc):
    """Pid namespaces, signals and identity come from the files."""
    (found,) = ProcessTable(proc).scan()

    assert (found.pid, found.inner_pid, found.uid) == (7, 1, 1000)
    assert found.catches_sigusr1
    assert found.start_ticks == 555
    assert found.environ is None
    assert found.same_network is None
    assert found.root == proc / "7/root"


def test_the_second_scan_reads_little(proc, monkeypatch):
    """A known target costs two small reads, a known process that is none costs one."""
    other = proc / "8"
    other.mkdir()
    (other / "stat").write_text((proc / "7/stat").read_text().replace("node", "sleep"))
    (other / "status").write_text((proc / "7/status").read_text())
    (other / "exe").symlink_to("/bin/sleep")
    table = ProcessTable(proc)
    first = table.scan()
    read: list[str] = []
    real = procfs.read

    def noted(path):
        read.append(str(path))
        return real(path)

    monkeypatch.setattr(procfs, "read", noted)

    assert table.scan() == first

    assert sorted(read) == [f"{proc}/7/stat", f"{proc}/7/status", f"{proc}/8/stat"]


@pytest.mark.parametrize("missing", ["stat", "status", "exe", "cmdline"])
def test_what_cannot_be_read_breaks_no_scan(proc, missing):
    """A process that ends while it is looked at, or may not be read, is left out or less known."""
    (proc / "7" / missing).unlink()

    found = ProcessTable(proc).scan()

    assert len(found) == (0 if missing in ("stat", "status") else 1)


def test_a_process_without_a_readable_exe_is_known_by_its_command_line(proc):
    """/proc/PID/exe of another user cannot be read, its command line can."""
    (proc / "7" / "exe").unlink()

    (found,) = ProcessTable(proc).scan()

    assert (found.runtime, found.exe) == (Runtime.NODE, "")


def test_the_id_is_the_same_from_every_side(proc):
    """Pod, container, inner pid and start time make the id; the agent's own view does not."""
    (found,) = ProcessTable(proc).scan()

    assert found.id("boot-1") == found.id("boot-1")
    assert found.id("boot-1") != found.id("boot-2")
    assert found.id("boot-1").startswith("t-")
    assert len(found.id("boot-1")) == 22


def test_a_listing_is_bounded(proc, monkeypatch):
    """No host makes a listing without end."""
    monkeypatch.setattr(processes, "MAX_PROCESSES", 0)

    assert ProcessTable(proc).scan() == []


NODE, PYTHON = Runtime.NODE, Runtime.PYTHON


@pytest.mark.parametrize(
    ("runtime", "argv", "script", "service"),
    [
        (NODE, ["node", "server.js"], "server.js", "server"),
        (NODE, ["node", "-r", "dotenv", "--max-old-space-size=4", "a/b.mjs"], "b.mjs", "b"),
        (NODE, ["node", "/app/bin/www"], "www", "www"),
        (NODE, ["node", "-e", "code"], "", "node"),
        (NODE, ["node"], "", "node"),
        (NODE, [], "", "unknown"),
        (PYTHON, ["/usr/bin/python3", "-X", "dev", "-u", "app.py", "x"], "app.py", "app"),
        (PYTHON, ["python", "-m", "http.server"], "http.server", "http.server"),
        (PYTHON, ["python", "/usr/bin/gunicorn", "app:wsgi"], "gunicorn", "gunicorn"),
        (PYTHON, ["python", "-c", "code"], "", "python"),
        (PYTHON, ["python", "-m"], "", "python"),
    ],
)
def test_script_and_service(runtime, argv, script, service):
    """A process that names itself nothing is called by what it runs."""
    assert script_name(runtime, argv) == script
    assert service_name(runtime, argv) == service


@pytest.mark.parametrize(
    ("runtime", "argv", "tool"),
    [
        (PYTHON, ["python", "-m", "memwatch_agent", "--listen", "x"], True),
        (PYTHON, ["python", "-m", "memwatch_controller.something"], True),
        (PYTHON, ["python", "/venv/bin/memwatchctl", "serve"], True),
        (PYTHON, ["python", "-m", "memwatch_hook", "app.py"], False),
        (PYTHON, ["python", "-m", "pip", "install"], True),
        (PYTHON, ["python", "-c", "from multiprocessing.resource_tracker import main"], True),
        (PYTHON, ["python", "-c", "from multiprocessing.spawn import spawn_main"], False),
        (PYTHON, ["python", "app.py"], False),
        (NODE, ["node", "/usr/lib/node_modules/npm/bin/npm-cli.js", "start"], True),
        (NODE, ["node", "server.js"], False),
    ],
)
def test_nobody_s_service(runtime, argv, tool):
    """Memwatch itself, launchers and helpers are no targets."""
    assert is_tool(runtime, argv) is tool
