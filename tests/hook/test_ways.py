"""The shortest pause: what is chosen, what is left out of a clone, and that nobody else is hurt."""

import os
import platform
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("resident", "objects", "in_place"),
    [
        (100 << 20, 1000, False),  # a clone takes nothing
        (1 * GIB, 100_000, True),
        (1 * GIB, 1_000_000, False),
        (5 * GIB, 1_000_000, True),
        (5 * GIB, 10_000_000, False),
    ],
)
def test_the_shorter_way_is_chosen(resident, objects, in_place):
    """Few objects with much memory are walked in place, all others in a clone."""
    assert ways.in_place_is_shorter(resident, objects) is in_place


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
    """Whether the large bytes are in a dump, at their full size."""
    heap = dump.heap()
    large = [number for number, one in enumerate(heap.sizes) if one >= 1 << 20]
    assert [heap.names[number] for number in large] == ["bytes"] * 300
    assert {heap.sizes[number] for number in large} == {size}


@pytest.mark.parametrize("minor", [runtimes.PYTHON_MINORS[0], runtimes.PYTHON_MINORS[-1]])
def test_large_bytes_are_left_out_of_the_clone(hook_dir, forker, minor):
    """They are in the dump at full size, no map stays marked, and forks of others lack nothing."""
    left_out = 0
    with buffers(minor, hook_dir, forker) as (target, client):
        for _ in range(20):
            answer = client.ask_dump(gc=False)
            result = answer.body["result"]
            assert result["way"] == "clone"
            left_out += any("MiB of large bytes" in note for note in result["notes"])
        check(dumps.read(answer.data), (1 << 20) + 33)
        assert left_out  # not where a fork was under way
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
