"""Names of sockets, and what is a leftover."""

import os
import socket
import subprocess

from memwatch_hook import place


def test_own_start_ticks_are_read():
    """A process's start time is there for itself and for others; none for a pid that is not."""
    assert place.start_ticks() == place.start_ticks(os.getpid())
    assert place.start_ticks(2**22 + 1) is None


def test_a_name_with_spaces_and_parentheses_does_not_confuse(tmp_path):
    """The process's name may hold anything; the start time is counted from its end."""
    program = tmp_path / "a) 1 2 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        found = place.start_ticks(process.pid)
        process.kill()
    own = place.start_ticks()
    assert found is not None and own is not None and found >= own


def test_a_process_that_nobody_has_waited_for_is_gone():
    """A zombie has a start time in /proc, and its socket is a leftover all the same."""
    with subprocess.Popen(["/bin/true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert place.start_ticks(process.pid) is None


def test_start_is_in_the_past():
    """Unix time of the start lies between boot and now."""
    import time

    started = place.start_millis()
    assert started is not None and 0 < started <= (time.time() + 2) * 1000


def test_the_sockets_path(monkeypatch, tmp_path):
    """Directory, runtime, pid and start ticks make the name; one too long for a socket is none."""
    monkeypatch.setenv("MEMWATCH_HOOK_DIR", str(tmp_path))
    assert place.socket_path(1, 2) == str(tmp_path / "python-1-2.sock")
    monkeypatch.setenv("MEMWATCH_HOOK_DIR", "/tmp/" + "x" * 110)
    assert place.socket_path(1, 2) is None
    monkeypatch.delenv("MEMWATCH_HOOK_DIR")
    assert place.directory() == f"/tmp/memwatch-{os.getuid()}"


def test_tidying_removes_only_leftovers_of_ours(monkeypatch, tmp_path):
    """Sockets of dead processes go; living ones, foreign names and sockets that answer stay."""
    monkeypatch.setenv("MEMWATCH_HOOK_DIR", str(tmp_path))
    dead, other = tmp_path / "python-4194305-1.sock", tmp_path / "python-4194306-1.sock"
    kept = [
        tmp_path / f"python-{os.getpid()}-{place.start_ticks()}.sock",
        tmp_path / "node-4194305-1.sock",
        tmp_path / "python-4194305-1.txt",
        tmp_path / "python-x-1.sock",
        tmp_path / "python-4194307-1.sock",
    ]
    listening = []
    for path in (dead, other, *kept):
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
            if path == kept[-1]:
                bound.listen()
                listening.append(bound.dup())
    place.tidy()
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in kept)
    for bound in listening:
        bound.close()


def test_a_foreign_directory_in_tmp_is_not_used(monkeypatch, tmp_path):
    """The default directory must be ours (or root's): who owns it could swap the socket."""
    monkeypatch.delenv("MEMWATCH_HOOK_DIR", raising=False)
    monkeypatch.setattr(place, "directory", lambda: str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: os.geteuid() + 1)
    mine = os.stat(tmp_path).st_uid
    assert place.make_directory() is (mine == 0)
