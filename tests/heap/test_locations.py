"""Places in the source: V8 says them, Python names its code by them, words find the rest."""

import pytest

from memwatch_heap.code_places import CodePlaces, Place
from memwatch_heap.locations import Sources, is_engine_script, short_name
from memwatch_heap.testing import HeapBuilder
from tests.heap.modules import SCRIPT, Module


def test_a_function_has_its_own_place():
    """Script, line and column count from 1, as editors do."""
    module = Module()
    function = module.function("serve", 101, line=41)
    place = Sources(module.graph()).of(function)
    assert place == Place(SCRIPT, 42, 5, "function serve")
    assert str(place) == "app.js:42"


def test_the_function_with_most_of_the_words_fills_the_container():
    """The names of the container and of its method weigh more than the objects' keys."""
    module = Module()
    module.function("read", 101, line=1, words=("cache", "get"))
    module.function("write", 103, line=2, words=("cache", "set", "id"))
    sources = Sources(module.graph())
    found = sources.adder(SCRIPT, {"cache": 3, "set": 2, "id": 1})
    assert found is not None
    assert found.what == "function write"


def test_the_innermost_function_fills_the_container():
    """A module's own function holds the code of all its functions, and is not meant."""
    module = Module()
    module.function("", 101, words=("cache", "set", "require", "listen"))
    module.function("write", 103, words=("cache", "set"))
    found = Sources(module.graph()).adder(SCRIPT, {"cache": 3, "set": 2})
    assert found is not None
    assert found.what == "function write"


def test_code_that_takes_objects_out_is_found():
    """It names the container and a method that removes; either alone says nothing."""
    module = Module()
    module.function("read", 101, line=1, words=("cache", "get"))
    module.function("close", 103, line=2, words=("sockets", "delete"))
    sources = Sources(module.graph())
    assert sources.remover(SCRIPT, "cache", ("delete", "clear")) is None
    module.function("evict", 105, line=3, words=("cache", "delete", "size"))
    found = Sources(module.graph()).remover(SCRIPT, "cache", ("delete", "clear"))
    assert found is not None
    assert found.what == "function evict"


def test_too_few_words_are_no_place():
    """A method's name alone may stand in any function."""
    module = Module()
    module.function("write", 103, words=("set",))
    assert Sources(module.graph()).adder(SCRIPT, {"cache": 3, "set": 2}) is None


@pytest.fixture
def python():
    """A Python heap with a class, one of its objects and a function."""
    heap = HeapBuilder()
    cls = heap.node("object", "type", held_by=heap.root)
    namespace = heap.node("object", "dict", held_by=cls, edge=("internal", "__dict__"))
    for name, line in (("render", 30), ("__init__", 12)):
        edge = ("property", name)
        method = heap.node("closure", f"app.Report.{name}", held_by=namespace, edge=edge)
        code = f"Report.{name} (/srv/app.py:{line})"
        heap.node("code", code, held_by=method, edge=("property", "__code__"))
    report = heap.node("object", "app.Report", held_by=heap.root)
    heap.edge(report, "internal", "__class__", cls)
    function = heap.node("closure", "app.handle", held_by=heap.root)
    heap.node("code", "handle (/srv/my (old) app.py:7)", held_by=function)
    cache = heap.node("object", "functools._lru_cache_wrapper", held_by=heap.root)
    own = heap.node("object", "dict", held_by=cache, edge=("internal", "__dict__"))
    heap.edge(own, "property", "__wrapped__", function)
    module = heap.node("object", "module", held_by=heap.root)
    variables = heap.node("object", "dict", held_by=module, edge=("internal", "__dict__"))
    for name, file, space in (("a", "/usr/x.py", own), ("b", "/usr/x.py", own)):
        other = heap.node("closure", name, held_by=variables, edge=("property", name))
        heap.node("code", f"{name} ({file}:3)", held_by=other)
        heap.edge(other, "property", "__globals__", space)
    main = heap.node("closure", "main", held_by=variables, edge=("property", "main"))
    heap.node("code", "main (/srv/app.py:3)", held_by=main)
    heap.edge(main, "property", "__globals__", variables)
    nodes = {"report": report, "function": function, "type": cls, "cache": cache, "module": module}
    return CodePlaces(heap.graph()), nodes


def test_a_python_function_leads_to_its_code(python):
    """The name of the code object says file and line, whatever is in the path."""
    places, nodes = python
    assert places.place_of(nodes["function"]) == Place(
        "/srv/my (old) app.py", 7, 0, "function handle"
    )


def test_a_python_object_leads_to_the_first_method_of_its_class(python):
    """Lines, not the order of the namespace, say which method is first."""
    places, nodes = python
    assert places.place_of(nodes["report"]) == Place("/srv/app.py", 12, 0, "class app.Report")


def test_a_wrapper_is_where_the_function_is_that_it_wraps(python):
    """A cache of results is known by the function that was cached."""
    places, nodes = python
    assert places.place_of(nodes["cache"]) == places.place_of(nodes["function"])


def test_a_module_is_in_the_file_of_its_own_functions(python):
    """However many it imports; its line is not known."""
    places, nodes = python
    assert places.place_of_module(nodes["module"]) == Place("/srv/app.py", 0, 0, "module")


def test_what_has_no_code_has_no_place(python):
    """A class object itself leads nowhere."""
    places, nodes = python
    assert places.place_of(nodes["type"]) is None


@pytest.mark.parametrize(
    ("script", "engine"),
    [
        ("node:internal/timers", True),
        ("/srv/app.js", False),
        ("file:///srv/app.mjs", False),
        ("/usr/lib/python3.11/logging/__init__.py", True),
        ("/usr/lib/python3.11/site-packages/flask/app.py", False),
        ("<frozen importlib._bootstrap>", True),
        ("", True),
    ],
)
def test_the_runtimes_scripts_are_told_from_the_programs(script, engine):
    """Growth is put down to the program's own code where there is some."""
    assert is_engine_script(script) is engine


def test_scripts_are_called_by_their_last_part():
    """A path is shortened, an engine's script is not."""
    assert short_name("/srv/shop/app.js") == "app.js"
    assert short_name("node:internal/timers") == "node:internal/timers"
