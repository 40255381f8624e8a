import pytest

from memwatch_controller.analysis import guard

MIB = 1024**2


def machine(root, *, total: int, free: int, v1: tuple[int, int] | None = None, v2=None):
    """A root directory whose /proc and /sys say so (in MiB)."""
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(
        f"MemTotal:  {total * 1024} kB\nMemFree: 1 kB\nMemAvailable: {free * 1024} kB\n"
    )
    folder = root / "sys/fs/cgroup/memory"
    folder.mkdir(parents=True)
    if v1:
        (folder / "memory.limit_in_bytes").write_text(f"{v1[0] * MIB}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{v1[1] * MIB}\n")
    if v2:
        limit, used = v2
        (folder.parent / "memory.max").write_text(f"{limit if limit == 'max' else limit * MIB}\n")
        (folder.parent / "memory.current").write_text(f"{used * MIB}\n")
    return root


@pytest.mark.parametrize(
    ("given", "free"),
    [
        ({}, 3000),
        ({"v1": (1000, 400)}, 600),
        ({"v2": (1000, 300)}, 700),
        ({"v2": (100, 300)}, 0),
        ({"v2": ("max", 300)}, 3000),
        ({"v1": (1 << 40, 400)}, 3000),
    ],
)
def test_free_memory_is_that_of_the_nearest_limit(tmp_path, given, free):
    """The machine's, or what is left under the cgroup's limit, version 1 or 2."""
    assert guard.free_bytes(machine(tmp_path, total=4000, free=3000, **given)) == free * MIB


@pytest.mark.parametrize("name", ["inactive_file", "total_inactive_file"])
def test_cached_files_count_as_free(tmp_path, name):
    """A cgroup full of cached files has room: they give way."""
    root = machine(tmp_path, total=4000, free=3000, v1=(1000, 900))
    stat = root / "sys/fs/cgroup/memory/memory.stat"
    stat.write_text(f"cache 1\n{name} {500 * MIB}\n")
    assert guard.free_bytes(root) == 600 * MIB


def test_three_quarters_are_allowed_where_nobody_says(tmp_path):
    """Of the machine, or of the container."""
    assert guard.default_memory(machine(tmp_path, total=4000, free=1, v2=(1000, 1))) == 750 * MIB


def test_a_machine_that_tells_nothing_sets_no_limit(tmp_path):
    """Without /proc there is nothing to refuse by."""
    assert guard.free_bytes(tmp_path) > 1 << 60


def test_what_is_needed_grows_with_the_largest_file():
    """Five bytes for each of the largest, less for the others, beside the interpreter's own."""
    assert guard.needed_bytes([100 * MIB, 50 * MIB]) == (256 + 500 + 35) * MIB
    assert guard.needed_bytes([]) == 256 * MIB
