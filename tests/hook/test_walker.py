"""What a snapshot says of a process's heap, on every interpreter, by the C walker and its twin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hook import dumps
from tests.hook.client import Heap, connected, wait_for_sockets
from tests.hook.conftest import hook_environment, interpreter
from tests.hook.walkers import HOOK, WALKERS
from tests.support import processes, runtimes

APPS = Path(__file__).parents[1] / "apps" / "hook"
GLOBALS = ("__main__", "__dict__")


class Zoo(Heap):
    """The snapshot of zoo.py, the next one of the same process, and what the target printed."""

    again: Heap
    text: str
    printed: str
    minor: tuple[int, ...]


KINDS = {"py": "python", "c": "c"}
CASES = [(minor, walker) for minor in runtimes.PYTHON_MINORS for walker in WALKERS]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def zoo(request, tmp_path_factory):
    """zoo.py under one interpreter, captured by one walker."""
    minor, walker = request.param
    python = interpreter(minor)
    folder = tmp_path_factory.mktemp("zoo")
    log = folder / "log"
    env = {"MEMWATCH_HOOK_DIR": str(folder), **hook_environment(walker)}
    with processes.running([python, APPS / "zoo.py"], env=env, log=log) as target:
        processes.wait_until(lambda: log.exists() and b"ready" in log.read_bytes())
        with connected(wait_for_sockets(folder, pid=target.pid)[0]) as client:
            info = client.ask("info")
            answer = client.ask("heap", gc=False)
            again = client.ask_dump(gc=False)
        printed = log.read_text()
    assert "result" in answer.body, answer.body
    assert answer.body["result"]["notes"] == [f"walker: {KINDS[walker]}"]
    assert info.body["result"]["walker"] == KINDS[walker]
    heap = Zoo.parse(answer.data)
    heap.again = dumps.read(again.data).heap()
    heap.text = answer.data.decode()
    heap.printed = printed
    heap.minor = tuple(map(int, minor.split(".")))
    return heap


def name(heap, *path):
    return heap.names[heap.follow(*GLOBALS, *path)]


def attribute(heap, *path):
    """The node of an attribute: of an object with a dict, or with values in the object."""
    owner = heap.follow(*GLOBALS, *path[:-1])
    names = [edge[1] for edge in heap.edges[owner]]
    through = () if path[-1] in names else ("__dict__",)
    return heap.follow(*GLOBALS, *path[:-1], *through, path[-1])


def test_instances_are_counted_exactly(zoo):
    """Every instance is there once, garbage in rings too; classes are named with their module."""
    assert zoo.count("__main__.Plain") == 103
    assert zoo.count("__main__.Undead") == 1
    assert zoo.count("decimal.Decimal") >= 1


def test_attributes_have_their_names(zoo):
    """Attributes in a dict, in the object and in slots are edges of that name."""
    assert zoo.names[attribute(zoo, "PLAIN", 0, "owner")] == "__main__.Plain"
    assert attribute(zoo, "PLAIN", 0, "owner") == zoo.follow(*GLOBALS, "PLAIN", 1)
    assert name(zoo, "SLOTTED", "left") == "list"
    assert name(zoo, "SLOTTED", "right") == "tuple"
    assert zoo.names[attribute(zoo, "SLOTTED_CHILD", "extra")] == "dict"
    assert name(zoo, "SLOTTED_CHILD", "left") == "list"
    assert name(zoo, "PRETENDER", "target") == "list"
    assert zoo.names[attribute(zoo, "OTHERS", 11, "inside")] == "list"


def test_a_dict_that_exists_is_an_object(zoo):
    """An instance whose dict somebody holds leads to that dict."""
    touched = zoo.follow(*GLOBALS, "TOUCHED", "__dict__")
    assert touched == zoo.follow(*GLOBALS, "TOUCHED_DICT")
    assert zoo.names[zoo.follow(*GLOBALS, "TOUCHED", "__dict__", "name")] == "str"


def test_instances_know_their_class(zoo):
    """`__class__` leads to the class, the class to its dict and bases."""
    assert zoo.follow(*GLOBALS, "PLAIN", 5, "__class__") == zoo.follow(*GLOBALS, "Plain")
    assert name(zoo, "SlottedChild", "__base__") == "type"
    assert name(zoo, "Plain", "__dict__", "__init__") == "__main__.Plain.__init__"


def test_containers_name_their_contents(zoo):
    """Sequences by index, mappings by key, subclasses of both alike."""
    assert name(zoo, "NAMED", 1) == "list"
    assert name(zoo, "ROW", 0) == "list"
    assert name(zoo, "BAG", "known") == "list"
    assert zoo.names[attribute(zoo, "BAG", "attribute")] == "list"
    assert name(zoo, "DEFAULTS", "key") == "list"
    assert name(zoo, "ORDERED", "first") == "list"
    assert name(zoo, "QUEUE", 0) == "list"
    assert {zoo.names[to] for _, _, to in zoo.edges[zoo.follow(*GLOBALS, "MEMBERS")]} >= {"tuple"}
    assert name(zoo, "FROZEN", 0) == "tuple"


def test_keys_are_held_by_their_dict(zoo):
    """A dict leads to its keys as well as to its values."""
    edges = zoo.edges[zoo.follow(*GLOBALS, "SECRETS")]
    assert [edge[1] for edge in edges] == ["[key]"] * 4 + ["key"] * 4
    assert [zoo.names[to] for _, _, to in edges[4:]] == ["str", "str", "int", "tuple"]


def test_code_and_closures_are_named(zoo):
    """Functions lead to code, globals and cells by the variables' names."""
    assert name(zoo, "CLOSURE") == "__main__.closure.<locals>.inner"
    cell = zoo.follow(*GLOBALS, "CLOSURE", "__closure__", "cached")
    assert zoo.names[cell] == "cell"
    assert (
        zoo.names[zoo.follow(*GLOBALS, "CLOSURE", "__closure__", "cached", "cell_contents")]
        == "dict"
    )
    assert zoo.types[zoo.follow(*GLOBALS, "CLOSURE", "__code__")] == "code"
    assert zoo.follow(*GLOBALS, "CLOSURE", "__globals__") == zoo.follow(*GLOBALS)
    assert name(zoo, "PARTIAL", "args", 0) == "list"


def test_suspended_frames_name_their_locals(zoo):
    """Generators and coroutines lead to their locals by name."""
    if zoo.minor >= (3, 11):
        assert name(zoo, "GENERATOR", "held_by_generator") == "list"
        assert name(zoo, "COROUTINE", "held_by_coroutine") == "list"
    else:
        assert name(zoo, "GENERATOR", "gi_frame", "held_by_generator") == "list"
        assert name(zoo, "COROUTINE", "cr_frame", "held_by_coroutine") == "list"


def test_threads_show_their_frames_and_locals(zoo):
    """Threads by name, frames innermost first with function and line, locals by name."""
    threads = zoo.edges[zoo.follow("(threads)")]
    named = {zoo.names[to].split(" ", 2)[2].split(" ")[0]: to for _, _, to in threads}
    assert set(named) == {"MainThread", "worker-7"}
    main = [zoo.names[to] for _, _, to in zoo.edges[named["MainThread"]]]
    assert len(main) == 502
    assert main[0].startswith("recurse (zoo.py:")
    assert main[-1].startswith("<module> (zoo.py:")
    worker = zoo.edges[named["worker-7"]][0][2]
    assert "local_of_thread" in [edge[1] for edge in zoo.edges[worker]]


def test_the_apps_code_is_never_run(zoo):
    """Objects that answer every question with an error are walked; nothing is deleted."""
    assert zoo.count("__main__.Hostile") == 1
    assert zoo.names[attribute(zoo, "HOSTILE", "kept")] == "list"
    assert "deleted in the child" not in zoo.printed


def test_values_of_strings_stay_in_the_process(zoo):
    """No string's value and no key that is not a short identifier is in the file."""
    assert "s3cret" not in zoo.text
    assert "password of bob" not in zoo.text
    assert "no identifier" not in zoo.text


def test_the_deepest_structure_is_walked(zoo):
    """50,000 nested lists need no recursion."""
    at = zoo.follow(*GLOBALS, "DEEP")
    for _ in range(50_000):
        [(_, _, at)] = zoo.edges[at]
    assert zoo.edges[at] == []


def test_the_hook_is_left_out(zoo):
    """None of the hook's classes and functions are there; its modules are one empty node."""
    assert not [n for n in zoo.names if n.startswith(("memwatch_hook.", "sitecustomize"))]
    assert zoo.edges[zoo.follow("(memwatch hook)")] == []


def test_unknown_holders_claim_nothing_known(zoo):
    """What hangs on the unknown group has no other holder, or is in a ring."""
    held = {to for number, edges in enumerate(zoo.edges) if number > 5 for _, _, to in edges}
    unknown = {to for _, _, to in zoo.edges[zoo.follow("(unknown holders)")]}
    free = [number for number in unknown if number not in held]
    assert free
    ring = [n for n in unknown if zoo.names[n] == "__main__.Plain"]
    assert len(ring) == 1


def test_every_node_is_reached_from_the_root(zoo):
    """Paths from the root lead to each node."""
    seen, left = {0}, [0]
    while left:
        for _, _, to in zoo.edges[left.pop()]:
            if to not in seen:
                seen.add(to)
                left.append(to)
    assert len(seen) == len(zoo.names)


def test_ids_are_unique_and_stable(zoo):
    """Ids fit 32 bits, are unique, and are the same in the next snapshot of the process."""
    assert len(set(zoo.ids)) == len(zoo.ids)
    assert max(zoo.ids) < 1 << 32
    planted = {i for i, n in zip(zoo.ids, zoo.names, strict=True) if n == "__main__.Plain"}
    again = {
        i for i, n in zip(zoo.again.ids, zoo.again.names, strict=True) if n == "__main__.Plain"
    }
    assert planted == again


def test_both_formats_tell_the_same_graph(zoo):
    """The dump and the `.heapsnapshot` of the resting process agree on every planted object."""

    def rows(heap):
        globals_ = heap.follow(*GLOBALS)
        planted = [to for _, name, to in heap.edges[globals_] if name not in ("__builtins__",)]
        found = {}
        for number in planted:
            edges = [(kind, name, heap.ids[to]) for kind, name, to in heap.edges[number]]
            found[heap.ids[number]] = (heap.names[number], heap.sizes[number], edges)
        return found

    assert rows(zoo) == rows(zoo.again)


def test_the_graph_is_what_the_collector_sees(python):
    """All tracked objects, every referent of each, and sizes as sys.getsizeof gives them."""
    done = subprocess.run(
        [python, APPS / "check_graph.py", HOOK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["objects"] > report["tracked"] > 1000


def test_this_interpreter_is_among_them():
    """The tests' own interpreter is one that the hook is tested on."""
    assert "{}.{}".format(*sys.version_info) in runtimes.PYTHON_MINORS


@pytest.mark.parametrize("minor", ["3.11", "3.13"])
def test_another_allocator_changes_no_size(minor, hook_dir):
    """With malloc for everything no `__sizeof__` may be called: sizes stay plausible."""
    env = {"MEMWATCH_HOOK_DIR": str(hook_dir), **hook_environment("c"), "PYTHONMALLOC": "malloc"}
    command = [interpreter(minor), APPS / "zoo.py"]
    with processes.running(command, env=env, log=hook_dir / "log") as target:
        processes.wait_until(lambda: b"ready" in (hook_dir / "log").read_bytes())
        with connected(wait_for_sockets(hook_dir, pid=target.pid)[0]) as client:
            answer = client.ask_dump(gc=False)
    result = answer.body["result"]
    assert result["heap_bytes"] < result["rss_bytes"]
    assert max(dumps.read(answer.data).heap().sizes) < result["heap_bytes"] / 4
