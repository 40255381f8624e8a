"""The corpus is what its headers say: enough programs, each small, each with a truth."""

import json

import pytest

from tests.heap.corpus import programs
from tests.support import runtimes

ALL = programs.programs("node") + programs.programs("python")
MAX_LINES = 60  # a corpus program is read at a glance


@pytest.mark.parametrize("runtime", ["node", "python"])
def test_each_runtime_has_leaking_and_innocent_programs(runtime):
    """Both runtimes show at least 12 ways to leak and 8 to grow without a leak."""
    verdicts = [program.verdict for program in programs.programs(runtime)]
    assert verdicts.count("leaking") >= 12
    assert verdicts.count("not leaking") >= 8


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_a_header_is_complete_and_its_program_short(program):
    """A leaking program names its suspects, an innocent one has none, and all are short."""
    assert program.about.endswith((".", "…"))
    assert bool(program.suspects) == (program.verdict == "leaking")
    assert len(program.path.read_text().splitlines()) < MAX_LINES
    for truth in program.suspects:
        assert truth.at is None or program.line_of(truth.at) > 0


def test_a_driven_node_program_writes_its_heap(tmp_path):
    """The stdin protocol works, snapshots and gives whole files."""
    node = runtimes.any_node()
    if node is None:
        pytest.skip("no Node 18 or newer is installed")
    program = next(one for one in ALL if one.name == "node/map_cache")
    (path,) = programs.take_snapshots(program, [str(node), "--expose-gc"], {}, tmp_path, count=1)
    strings = json.loads(path.read_text(encoding="utf-8", errors="replace"))["strings"]
    assert f"report-{program.warm_units - 1}" in strings
