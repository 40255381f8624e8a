"""The container's limit as the hook reads it, on made-up file trees."""

import pytest

from memwatch_hook.cgroup import Memory


@pytest.fixture
def tree(tmp_path):
    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Memory(str(tmp_path))

    return make


def test_no_cgroup_is_no_limit(tree):
    """Without any file there is neither limit nor headroom."""
    memory = tree({})
    assert memory.limit is None
    assert memory.headroom() is None


def test_v2_counts_droppable_cache_as_free(tree):
    """Headroom is limit − used + inactive file pages."""
    top = "sys/fs/cgroup/"
    memory = tree(
        {
            top + "memory.max": "1000\n",
            top + "memory.current": "900\n",
            top + "memory.stat": "anon 1\ninactive_file 50\n",
        }
    )
    assert memory.limit == 1000
    assert memory.headroom() == 150


def test_v1_and_the_group_of_the_process(tree):
    """On v1 outside a container the process's own group counts, as far as it is tighter."""
    top = "sys/fs/cgroup/memory/"
    memory = tree(
        {
            "proc/self/cgroup": "4:memory:/pod/box\n1:cpu:/\n",
            top + "memory.limit_in_bytes": "9223372036854771712\n",
            top + "pod/box/memory.limit_in_bytes": "500\n",
            top + "pod/box/memory.usage_in_bytes": "480\n",
        }
    )
    assert memory.limit == 500
    assert memory.headroom() == 20


def test_max_is_no_limit(tree):
    """A v2 group without a limit says `max`."""
    assert tree({"sys/fs/cgroup/memory.max": "max\n"}).limit is None
