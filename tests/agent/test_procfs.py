"""`procfs.py`: parsers of /proc that take whatever is there, and readers that never raise."""

import os
import signal

from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent import procfs

STAT = (
    b"4711 (a) b (c)) S 12 1 1 0 -1 4194304 1 2 3 4 500 60 7 8 20 0 1 0 987654 1000000 250 "
    b"18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"
)


def test_stat_survives_a_hostile_name():
    """A name with spaces and parentheses does not shift the fields."""
    stat = procfs.parse_stat(STAT)

    rss, flags = 250 * procfs.PAGE_BYTES, 4194304
    assert stat == procfs.Stat("a) b (c)", "S", 12, 560, 987654, rss, flags)
    assert not stat.ended


def test_a_process_that_is_taken_down_has_ended():
    """The kernel's flag counts: it is there when the first socket closes, state Z is not yet."""
    for state, flags, ended in (("R", 4194308, True), ("S", 4194304, False), ("Z", 0, True)):
        text = STAT.replace(b") S ", f") {state} ".encode()).replace(b"4194304", b"%d" % flags)
        stat = procfs.parse_stat(text)
        assert stat is not None
        assert stat.ended is ended


def test_status_has_the_inner_pid():
    """The last of NSpid is the pid as the process sees itself."""
    text = (
        b"Name:\tnode\nPid:\t77\nUid:\t1\t1000\t1\t1\nNSpid:\t77\t9\t1\nSigCgt:\t0000000000000200\n"
    )
    status = procfs.parse_status(text)

    assert status == procfs.Status(1000, 1, 0x200)
    assert status.catches(signal.SIGUSR1)
    assert not status.catches(signal.SIGUSR2)


def test_status_of_an_old_kernel_has_no_inner_pid():
    """Without NSpid the pid itself is taken."""
    status = procfs.parse_status(b"Pid:\t77\nUid:\t1\t2\t3\t4\nSigCgt:\t0\n")

    assert status is not None
    assert status.inner_pid == 77


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parsers(data):
    """Whatever the files hold, there is an answer or None."""
    procfs.parse_stat(data)
    procfs.parse_status(data)
    procfs.strings(data)


def test_readers_never_raise(tmp_path):
    """What is gone, forbidden or no file is None."""
    assert procfs.read(tmp_path / "none") is None
    assert procfs.read(tmp_path) is None
    assert procfs.read("nul\0byte") is None
    assert procfs.stat(tmp_path) is None
    assert procfs.status(tmp_path) is None
    assert procfs.link(tmp_path) is None
    assert procfs.environ(tmp_path, ("A",)) is None
    assert list(procfs.pids(tmp_path / "none")) == []


def test_a_long_file_is_cut(tmp_path):
    """No file of /proc fills the agent's memory."""
    (tmp_path / "long").write_bytes(b"x" * 100)

    assert procfs.read(tmp_path / "long", 10) == b"x" * 10


def test_only_asked_for_variables_are_kept(tmp_path):
    """Secrets in an environment are not taken along."""
    (tmp_path / "environ").write_bytes(b"SECRET=1\0MEMWATCH_X=a=b\0NOEQUALS\0\0")

    assert procfs.environ(tmp_path, ("MEMWATCH_",)) == {"MEMWATCH_X": "a=b"}


def test_we_read_ourselves():
    """The real /proc is understood."""
    stat, status = procfs.stat("/proc/self"), procfs.status("/proc/self")

    assert stat is not None and stat.parent == os.getppid() and stat.rss_bytes > 0
    assert status is not None and status.uid == os.geteuid()
