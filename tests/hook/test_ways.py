"""The shortest pause: what is chosen, what is left out of a clone, and that nobody else is hurt."""

import os
import platform
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_hook import ways
from tests.hook import dumps
from tests.hook.client import connected, wait_for_sockets
from tests.hook.conftest import hook_environment, interpreter
from tests.hook.test_snapshot import child_of
from tests.hook.test_trouble import heard
from tests.support import runtimes
from tests.support.processes import wait_until

APPS = Path(__file__).parents[1] / "apps" / "hook"
GIB = 1 << 30


copied = st.integers(0, 64 * GIB)
counts = st.integers(0, 100_000_000)
costs = st.floats(0, 60_000)


@pytest.mark.parametrize(
    ("copied", "objects", "in_place"),
    [
        (100 << 20, 1000, False),  # a clone takes nothing
        (1 * GIB, 50_000, True),
        (1 * GIB, 1_000_000, False),
        (5 * GIB, 1_000_000, False),  # 101 ms of clone, 127 in place
        (20 * GIB, 1_000_000, True),
        (5 * GIB, 10_000_000, False),
    ],
)
def test_the_shorter_way_is_chosen(copied, objects, in_place):
    """Few objects with much memory are walked in place, all others in a clone."""
    assert ways.Rates().in_place_is_shorter(copied, objects) is in_place


@given(copied, counts, st.lists(st.tuples(copied, costs)), st.lists(st.tuples(counts, costs)))
def test_in_place_is_never_the_longer_way(copied, objects, clones, walks):
    """Whatever was learned: by a third shorter, and more memory or fewer objects change nothing."""
    rates = ways.Rates()
    for one, millis in clones:
        rates.learn_clone(one, millis)
    for count, millis in walks:
        rates.learn_walk(count, millis)

    if rates.in_place_is_shorter(copied, objects):
        assert 1.5 * rates.in_place_millis(objects) < rates.clone_millis(copied)
        assert rates.in_place_is_shorter(2 * copied, objects)
        assert rates.in_place_is_shorter(copied, objects // 2)
    else:
        assert not rates.in_place_is_shorter(copied // 2, objects)
        assert not rates.in_place_is_shorter(copied, 2 * objects)


def test_a_process_learns_what_its_ways_cost():
    """Measured costs are believed within a factor of 8; small clones and walks teach nothing."""
    rates = ways.Rates()
    before = rates.clone_millis(4 * GIB), rates.in_place_millis(1_000_000)
    rates.learn_clone(1 << 20, 500)
    rates.learn_walk(1000, 500)
    assert (rates.clone_millis(4 * GIB), rates.in_place_millis(1_000_000)) == before
    for _ in range(20):
        rates.learn_clone(4 * GIB, 40)
        rates.learn_walk(1_000_000, 1e9)
    assert rates.clone_millis(4 * GIB) == pytest.approx(40, rel=0.01)
    assert rates.in_place_millis(1_000_000) == pytest.approx(8 * 125, rel=0.01)


@given(copied, copied, copied)
def test_only_small_pages_that_are_not_left_out_are_copied(anonymous, huge, left_out):
    """Huge pages count a tenth; nothing is copied twice, nor less than nothing."""
    found = ways.copied_bytes(anonymous, huge, left_out)

    assert 0 <= found <= anonymous
    assert ways.copied_bytes(anonymous, 0, 0) == anonymous
    assert ways.copied_bytes(anonymous, anonymous, 0) == anonymous // 10


@contextmanager
def buffers(minor, hook_dir, *arguments):
    """A target of large bytes, and a connection to its hook."""
    env = {**os.environ, **hook_environment("c"), "MEMWATCH_HOOK_DIR": str(hook_dir)}
    command = [interpreter(minor), APPS / "buffers.py", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as target:
        try:
            assert heard(target) == "ready"
            [path] = wait_for_sockets(hook_dir, pid=target.pid)
            with connected(path) as client:
                yield target, client
            assert target.poll() is None
        finally:
            target.kill()


@pytest.fixture(scope="module")
def forker(tmp_path_factory):
    """The library whose thread forks."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("forker") / "forker.so"
    flags = ["-O2", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *flags, APPS / "forker.c", "-o", library], check=True)
    return library


def check(dump, size):
    """Whether the large bytes and str are in a dump, at their full size."""
    heap = dump.heap()
    large = [number for number, one in enumerate(heap.sizes) if one >= 1 << 20]
    names = [heap.names[number] for number in large]
    assert sorted(names) == ["bytes"] * 300 + ["str"] * 20
    assert {heap.sizes[number] for number in large if heap.names[number] == "bytes"} == {size}


@pytest.mark.parametrize("minor", [runtimes.PYTHON_MINORS[0], runtimes.PYTHON_MINORS[-1]])
def test_large_bytes_are_left_out_of_the_clone(hook_dir, forker, minor):
    """They are in the dump at full size, no map stays marked, and forks of others lack nothing."""
    left_out = [0]
    with buffers(minor, hook_dir, forker) as (target, client):
        for _ in range(20):
            answer = client.ask_dump(gc=False)
            result = answer.body["result"]
            assert result["way"] == "clone"
            notes = [note for note in result["notes"] if "MiB of large bytes" in note]
            left_out += [int(note.split()[5]) for note in notes]
        check(dumps.read(answer.data), (1 << 20) + 33)
        assert max(left_out) >= 300  # of 320; nothing where a fork was under way
        shown = client.ask_dump(gc=False, strings=1024)
        shown = dumps.read(shown.data).heap()
        assert shown.names.count("x" * 1024) == 20  # where texts are shown they are not left out
        target.stdin.write("\n")
        target.stdin.flush()
        marked, forks, failures = map(int, heard(target).split())
        assert (marked, failures) == (0, 0)
        assert forks > 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is written for x86-64")
@pytest.mark.parametrize("minor", runtimes.PYTHON_MINORS)
def test_without_a_clone_the_app_itself_is_walked(hook_dir, minor):
    """Where the system call is forbidden, a heap is walked in place, and the record says so."""
    with buffers(minor, hook_dir, "-", "no-clone") as (target, client):
        for _ in range(2):
            answer = client.ask_dump(gc=False)
            result = answer.body["result"]
            assert result["way"] == "in place"
            assert any("Operation not permitted" in note for note in result["notes"]), result
        check(dumps.read(answer.data), (1 << 20) + 33)
        wait_until(lambda: child_of(target.pid) is None)
        old = client.ask("heap", gc=False).body
        assert "cannot fork the app" in old["message"]
