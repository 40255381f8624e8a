"""`cgroups.py`: limits and usage from cgroup v1 and v2 files, of every level."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent import cgroups
from memwatch_agent.cgroups import Level, Mount

MIB = 1024 * 1024
NO_V1_LIMIT = 9223372036854771712


class Tree:
    """A fake /proc and a fake cgroup file system under one folder."""

    def __init__(self, folder: Path, version: int) -> None:
        self.proc = folder / "proc"
        self.mount = folder / "cgroup"
        self.version = version
        self.mount.mkdir()

    def process(self, pid: int | str, path: str, mountinfo: str | None = None) -> None:
        place = self.proc / str(pid)
        place.mkdir(parents=True)
        line = f"0::{path}" if self.version == 2 else f"9:cpu:/x\n4:cpuset,memory:{path}\n0::/"
        (place / "cgroup").write_text(line + "\n")
        (place / "mountinfo").write_text(self.line("/") if mountinfo is None else mountinfo)

    def line(self, shows: str, mount: Path | str | None = None) -> str:
        kind = "cgroup2 cgroup2 rw" if self.version == 2 else "cgroup cgroup rw,memory"
        place = str(mount or self.mount).replace(" ", "\\040")
        return f"35 31 0:32 {shows} {place} rw,relatime shared:1 - {kind}\n"

    def level(self, path: str, usage: int, limit: int | None, cache: int = 0) -> None:
        folder = self.mount / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if self.version == 2:
            (folder / "memory.current").write_text(f"{usage}\n")
            (folder / "memory.max").write_text(f"{'max' if limit is None else limit}\n")
            (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")
        else:
            (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
            (folder / "memory.limit_in_bytes").write_text(f"{limit or NO_V1_LIMIT}\n")
            (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {cache}\n")


@pytest.fixture(params=[1, 2])
def tree(request, tmp_path) -> Tree:
    return Tree(tmp_path, request.param)


def test_a_limit_and_its_usage_are_read(tree):
    """The process's own cgroup tells usage, limit and the cache that can be given back."""
    tree.process("self", "/")
    tree.process(7, "/pod/app")
    tree.level("/pod/app", 300 * MIB, 512 * MIB, 100 * MIB)
    tree.level("/pod", 900 * MIB, None)

    read = cgroups.levels(tree.proc, 7)

    assert read[:2] == [
        Level(300 * MIB, 512 * MIB, 100 * MIB),
        Level(900 * MIB, None, 0),
    ]
    assert read[0].headroom_bytes == 312 * MIB


def test_the_tightest_level_counts(tree):
    """A pod's limit binds where it leaves less than the container's own."""
    tree.process("self", "/")
    tree.process(7, "/pod/app")
    tree.level("/pod/app", 100 * MIB, 512 * MIB)
    tree.level("/pod", 900 * MIB, 1000 * MIB)

    tightest = cgroups.tightest(cgroups.levels(tree.proc, 7))

    assert tightest is not None
    assert tightest.headroom_bytes == 100 * MIB


def test_no_limit_is_no_level(tree):
    """Where nothing is limited there is no tightest level."""
    tree.process("self", "/")
    tree.process(7, "/app")
    tree.level("/app", 100 * MIB, None)

    assert cgroups.tightest(cgroups.levels(tree.proc, 7)) is None


def test_a_container_s_own_mount_shows_its_cgroup(tree):
    """In a container the mount shows the container's cgroup, not the hierarchy's root."""
    tree.process("self", "/docker/abc", tree.line("/docker/abc"))
    tree.process(7, "/docker/abc/worker")
    tree.level("/worker", 5 * MIB, 10 * MIB)

    assert cgroups.levels(tree.proc, 7)[0] == Level(5 * MIB, 10 * MIB, 0)


def test_a_neighbour_is_read_through_its_own_root(tree):
    """A cgroup outside the agent's view is read under the process's root."""
    tree.process("self", "/../agent", tree.line("/../agent"))
    tree.process(7, "/../app", tree.line("/../app", "/sys/fs/cgroup"))
    tree.mount = tree.proc / "7/root/sys/fs/cgroup"
    tree.level("/", 5 * MIB, 10 * MIB)

    assert cgroups.levels(tree.proc, 7) == [Level(5 * MIB, 10 * MIB, 0)]


def test_a_mount_point_with_a_space_is_read(tmp_path):
    """The kernel's octal escapes in mountinfo are undone."""
    tree = Tree(tmp_path, 2)
    tree.mount = tmp_path / "c group"
    tree.process("self", "/")
    tree.process(7, "/app")
    tree.level("/app", 5 * MIB, 10 * MIB)

    assert cgroups.levels(tree.proc, 7)[0].limit_bytes == 10 * MIB


@pytest.mark.parametrize("missing", ["cgroup", "mountinfo"])
def test_unreadable_files_are_no_level(tree, missing):
    """A process that ended, or may not be looked at, has no level and breaks nothing."""
    tree.process("self", "/", "" if missing == "mountinfo" else None)
    tree.process(7, "/app", "" if missing == "mountinfo" else None)
    if missing == "cgroup":
        (tree.proc / "7/cgroup").unlink()

    assert cgroups.levels(tree.proc, 7) == []


def test_more_cache_than_usage_is_not_believed(tree):
    """Figures that are read one after the other may disagree: cache is at most the usage."""
    tree.process("self", "/")
    tree.process(7, "/app")
    tree.level("/app", 5 * MIB, 10 * MIB, cache=50 * MIB)

    assert cgroups.levels(tree.proc, 7)[0].headroom_bytes == 10 * MIB


def test_usage_above_the_limit_leaves_nothing():
    """Headroom is never negative."""
    assert Level(20, 10, 0).headroom_bytes == 0


def test_the_machine_is_the_outermost_level(tmp_path):
    """Without a cgroup's limit the machine's own memory is the limit."""
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n")

    assert cgroups.host_level(tmp_path) == Level(600 * 1024, 1000 * 1024, 0)
    assert cgroups.host_level(tmp_path / "none") is None


def test_a_path_never_leaves_its_mount():
    """A path with ".." that the mount does not show is not followed."""
    assert cgroups.folders(2, "/../../etc", [Mount(2, "/sys/fs/cgroup", "/")]) == []


def test_folders_go_from_the_cgroup_to_the_mount():
    """Every visible level is listed, nearest first."""
    seen = [Mount(1, "/v1", "/"), Mount(2, "/cg", "/a")]

    assert cgroups.folders(2, "/a/b/c", seen) == ["/cg/b/c", "/cg/b", "/cg"]
    assert cgroups.folders(2, "/ab", seen) == []


@given(st.text(max_size=200))
def test_no_text_breaks_the_parsers(text):
    """Whatever the files hold, there is an answer."""
    assert isinstance(cgroups.mounts(text), list)
    cgroups.memory_path(text)


def test_this_machine_has_memory():
    """The real /proc is understood."""
    level = cgroups.host_level(Path("/proc"))

    assert level is not None
    assert level.headroom_bytes
