import io

from memwatch_heap.scopes import Scope, Sharer, Slot, SlotState
from memwatchctl import closures
from memwatchctl.output import Output

SCOPE = Scope(
    function="serve",
    script="/srv/app.js",
    line=3,
    contexts=20,
    retained_bytes=2048,
    unread_bytes=1024,
    sharers=(Sharer("stay", "/srv/app.js", 8, 20), Sharer("", "", 0, 0)),
    running=True,
    slots=tuple(
        Slot(f"v{n}\x1b[31m", 20, "Array", 1024, SlotState.UNREAD, "only 'once' names it")
        for n in range(8)
    ),
    samples=(7, 9),
)


def printed(*scopes):
    stream = io.StringIO()
    closures.show(Output("table", no_color=True, stream=stream), scopes)
    return stream.getvalue()


def test_lines_for_people():
    """A scope says whose it is, what it keeps alive, who holds it, and what of it nobody reads."""
    lines = printed(SCOPE).splitlines()

    assert lines[0] == "serve (/srv/app.js:3): 20 contexts, 2.0 KiB, 1.0 KiB of it not read"
    assert lines[1].startswith("  held by 20 of stay (line 8), one inside of a function without")
    assert lines[2].endswith("20 Array, 1.0 KiB; not read: only 'once' names it")
    assert lines[-2] == "  and 2 more variables"
    assert "\x1b" not in printed(SCOPE)
    assert "no function" in printed()


def test_document():
    """For programs all of it is there, with units in the names."""
    found = closures.document(SCOPE)

    assert (found["context_count"], found["unread_size_bytes"]) == (20, 1024)
    assert found["functions"][0] == {
        "name": "stay", "script": "/srv/app.js", "line": 8, "closure_count": 20,
    }  # fmt: skip
    assert (len(found["variables"]), found["variables"][0]["state"]) == (8, "not read")
