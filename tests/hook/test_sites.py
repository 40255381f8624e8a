"""Where objects were allocated, joined to the heap where tracemalloc is on: by both walkers."""

import json
import os

import pytest

from tests.hook import dumps
from tests.hook.client import RESULT, connected, wait_for_sockets
from tests.hook.walkers import WALKERS
from tests.support.processes import wait_until

# Line numbers matter: objects are made at line 10, a row's list at line 4.
MODELS = """\
class Row:
    __slots__ = ("name", "cells")
    def __init__(self, number):
        self.cells = [number, "a" * (number % 7)]
        self.name = f"row {number}"
class Plain:
    pass
rows, plain = [], []
def add(number):
    rows.append(Row(number)); plain.append(Plain())
def fill(count):
    for number in range(count):
        add(number)
import sys, time
early = [Row(number) for number in range(50)] if "late" in sys.argv else []
if "late" in sys.argv:
    import _tracemalloc
    _tracemalloc.start(2)
fill(400)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=WALKERS)
def walker(request):
    """Both walkers: they must tell the same."""
    return request.param


@pytest.fixture
def models(tmp_path):
    """The program's file."""
    file = tmp_path / "models.py"
    file.write_text(MODELS)
    return file


def taken(hooked, hook_dir, *command, **options):
    """A dump of a program that is ready, and the notes of its RESULT."""
    with hooked(*command) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        wait_until(lambda: "ready" in (hook_dir / "log").read_text())
        with connected(path) as client:
            answer = client.ask("heap", format="dump", **options)
        assert answer.kind == RESULT, answer.body
        with os.fdopen(answer.descriptor, "rb") as file:
            file.seek(0)
            return dumps.read(file.read()), answer.body["result"]["notes"]


def lines(dump, name):
    """The lines of each stack of the objects of a class; None where it is not known."""
    heap = dump.heap()
    return [
        [frame[2] for frame in dump.sites[node]] if node in dump.sites else None
        for node, found in enumerate(heap.names)
        if found == name and heap.types[node] == "object"
    ]


def test_each_object_has_its_line(hooked, hook_dir, python, models):
    """Every object made while tracing was on has its stack, the innermost line first."""
    dump, notes = taken(hooked, hook_dir, python, "-X", "tracemalloc=2", models, sites=True)
    assert dump.version == 2
    assert any("tracemalloc is on, with 2 frames" in note for note in notes), notes
    assert lines(dump, "__main__.Row") == [[10, 13]] * 400
    assert lines(dump, "__main__.Plain") == [[10, 13]] * 400
    own = [stack for stack in dump.sites.values() if stack[0][1] == str(models)]
    assert {stack[0][0] for stack in own} >= {"models.py:10", "models.py:4", "models.py:5"}
    cells = [stack for stack in own if [frame[2] for frame in stack] == [4, 10]]
    assert len(cells) >= 400
    assert dump.end["sites_left_out"] == 0


def test_objects_of_before_have_no_line(hooked, hook_dir, some_python, models):
    """What was made before tracing began is told as not known, and nothing is made up."""
    dump, _ = taken(hooked, hook_dir, some_python, models, "late", sites=True)
    found = lines(dump, "__main__.Row")
    assert found.count(None) == 50
    assert found.count([10, 13]) == 400


def test_a_dump_without_tracing_is_of_version_1(hooked, hook_dir, some_python, models):
    """Nothing is switched on by a snapshot, and nothing said; nor where nobody asks."""
    dump, notes = taken(hooked, hook_dir, some_python, models, sites=True)
    assert (dump.version, dump.sites) == (1, {})
    assert not any("allocation" in note for note in notes)


def test_nobody_who_does_not_ask_gets_version_2(hooked, hook_dir, some_python, models):
    """An older agent reads what it knows, however the app is traced."""
    dump, _ = taken(hooked, hook_dir, some_python, "-X", "tracemalloc", models)
    assert (dump.version, dump.sites) == (1, {})
    assert json.dumps(dump.head)
