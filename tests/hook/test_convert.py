"""A heap dump becomes the `.heapsnapshot` it stands for; a damaged one ends in a sentence."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_hook import _convert_py, convert, dump, v8format
from tests.hook import walkers

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "heap_dump.json").read_text())
HEAD = {"runtime": "python", "runtime_version": "3.11.7", "walker": "python"}
SYNTHETIC = v8format.SYNTHETIC


def c_module():
    """The C converter as it is now, or the test is skipped."""
    try:
        file = walkers.with_c_walker() / "memwatch_hook" / "_convert.abi3.so"
    except LookupError as cause:
        pytest.skip(f"no C converter: {cause}")
    spec = importlib.util.spec_from_file_location("memwatch_hook._convert", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def both():
    """Both converters' functions."""
    return c_module().convert, _convert_py.convert


def converted(data: bytes, run) -> bytes:
    """What one converter makes of a dump; ConvertError where it is damaged."""
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as out:
        file.write(data)
        file.flush()
        plan = convert.read_plan(file.fileno())
        header = v8format.header_with_traces()
        try:
            found = run(file.fileno(), out.fileno(), *plan.numbers, header)
        except ValueError as problem:
            raise convert.ConvertError(str(problem)) from None
        out.seek(0)
        text = out.read()
        assert found[2] == len(text)
        return text


def outcome(data: bytes, run) -> bytes | None:
    """The same, with None for a damaged dump."""
    try:
        return converted(data, run)
    except convert.ConvertError:
        return None


@pytest.mark.parametrize("vector", VECTORS["dumps"], ids=lambda vector: vector["name"])
def test_golden_dumps_are_understood(both, vector):
    """Both give the nodes, edges and strings that the golden bytes stand for, and the same text."""
    data = bytes.fromhex(vector["hex"])
    texts = [converted(data, run) for run in both]
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    rows = list(zip(*[iter(found["nodes"])] * 7, strict=True))
    edges = list(zip(*[iter(found["edges"])] * 3, strict=True))
    assert found["strings"] == vector["strings"]
    assert [list(row[:6]) for row in rows] == vector["nodes"]
    assert [[kind, name, to // 7] for kind, name, to in edges] == vector["edges"]


def test_golden_dumps_with_sites_are_understood(both):
    """Version 2 gives V8's traces: each node leads to its frames, and its mark stands apart."""
    for vector in VECTORS["dumps_with_sites"]:
        texts = [converted(bytes.fromhex(vector["hex"]), run) for run in both]
        assert texts[0] == texts[1]
        found = json.loads(texts[0])
        stacks, traces = stacks_of(found), [row[5] for row in rows_of(found)]
        frames = [[tuple(frame) for frame in stack] for stack in vector["stacks"]]
        assert [stacks.get(trace, []) for trace in traces] == [
            frames[site - 1] if site else [] for site in vector["sites"]
        ]
        assert found["value_marks"] == [node[5] for node in vector["nodes"]]


TEXTS = st.text(max_size=20)


@st.composite
def graphs(draw):
    """Some nodes in two parts, edges between all of them, and strings."""
    strings = ["", *draw(st.lists(TEXTS, min_size=1, max_size=12))]
    name = st.integers(0, len(strings) - 1)
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=40))
    # Some of what a writer would do in no other way: far targets, and a long sequence.
    counts += [0] * draw(st.sampled_from([0, 0, 5000])) + [draw(st.sampled_from([0, 70]))]
    label = st.one_of(
        st.builds(lambda n, k: n << 3 | k, name, st.sampled_from([0, 2, 3, 5, 6])),
        st.builds(lambda n, k: n << 3 | k, st.integers(0, 1 << 20), st.sampled_from([1, 4])),
    )
    labels = draw(st.lists(label, min_size=8, max_size=8))
    first = draw(st.integers(1, len(counts)))
    parts = [v8format.Nodes(), v8format.Nodes()]
    target = st.integers(0, len(counts) - 1)
    for number, count in enumerate(counts):
        part = parts[number >= first]
        plain = number < 60
        part.types.append(SYNTHETIC if number < first else draw(st.integers(0, 8)) if plain else 3)
        part.names.append(draw(name) if plain else 0)
        part.ids.append(draw(st.integers(0, 2**32 - 1)) if plain else number)
        part.sizes.append(draw(st.integers(0, 2**53 - 1)) if plain else 16)
        part.edge_counts.append(count)
        part.marks.append(draw(st.sampled_from([0, 0, 1, 2**32 - 1])) if plain else 0)
        in_order = draw(st.booleans()) if count else False
        for index in range(count):
            part.labels.append(index << 3 | 1 if in_order else draw(st.sampled_from(labels)))
            part.targets.append(7 * draw(target))
    return parts, strings


def dumped(parts, strings, sites=None) -> bytes:
    out = bytearray()
    dump.write(parts, strings, HEAD, out.extend, sites)
    return bytes(out)


@st.composite
def sited_graphs(draw):
    """The same, most objects with a site of up to four frames."""
    parts, strings = draw(graphs())
    number = st.integers(0, len(strings) - 1)
    frame = st.tuples(number, number, st.sampled_from([0, 1, 88, dump.MAX_LINE]))
    sites = dump.Sites()
    for frames in draw(st.lists(st.lists(frame, min_size=1, max_size=4), max_size=9)):
        sites.add(frames)
    for part in parts:
        for place in range(len(part.types)):
            plain = place < 60 and draw(st.booleans())
            part.sites.append(draw(st.integers(0, len(sites.stacks))) if plain else 0)
    return parts, strings, sites


@given(graphs())
@settings(max_examples=20, deadline=None)
def test_any_graph_comes_through(both, graph):
    """What was written as a dump and converted is what is written as a `.heapsnapshot` at once."""
    parts, strings = graph
    data, straight = dumped(parts, strings), bytearray()
    v8format.write(parts, strings, straight.extend)
    texts = [converted(data, run) for run in both]
    assert texts[0] == texts[1]
    assert json.loads(texts[0]) == json.loads(straight)


@given(sited_graphs())
@settings(max_examples=20, deadline=None)
def test_allocation_sites_come_through(both, graph):
    """Both give the same text; a node leads up the tree by its frames, and keeps its mark."""
    parts, _, sites = graph
    texts = [converted(dumped(*graph), run) for run in both]
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    wanted = [sites.stacks[site - 1] if site else [] for part in parts for site in part.sites]
    stacks = stacks_of(found)
    assert [stacks.get(row[5], []) for row in rows_of(found)] == wanted or not any(wanted)
    if any(wanted):
        assert found["value_marks"] == [mark for part in parts for mark in part.marks]
        sizes = [size for part in parts for size in part.sizes]
        both_sums = sum(map(bool, wanted)), sum(s for s, w in zip(sizes, wanted, strict=True) if w)
        assert sums_of(found["trace_tree"]) == both_sums
        assert found["snapshot"]["trace_function_count"] * 6 == len(found["trace_function_infos"])
    else:
        assert found["trace_function_infos"] == found["trace_tree"] == []


def rows_of(found):
    """The rows of the nodes."""
    return zip(*[iter(found["nodes"])] * 7, strict=True)


def stacks_of(found):
    """The frames (name, file, line) that lead to each trace node, the innermost first."""
    infos = zip(*[iter(found["trace_function_infos"])] * 6, strict=True)
    functions = [row[1:3] + row[4:5] for row in infos]
    stacks = {}

    def enter(tree, above):
        for number, function, _, _, children in zip(*[iter(tree)] * 5, strict=True):
            stacks[number] = [functions[function], *above] if number > 1 else []
            enter(children, stacks[number])

    enter(found["trace_tree"], [])
    return stacks


def sums_of(tree):
    """Objects and bytes of a tree of traces."""
    count = size = 0
    for _, _, mine, my_size, children in zip(*[iter(tree)] * 5, strict=True):
        below = sums_of(children)
        count, size = count + mine + below[0], size + my_size + below[1]
    return count, size


@st.composite
def damages(draw):
    """A change of a dump: bytes replaced, cut out, or put in."""
    return draw(st.floats(0, 1)), draw(st.integers(0, 6)), draw(st.binary(max_size=6))


@given(st.one_of(graphs(), sited_graphs()), st.lists(damages(), min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_damage_ends_in_a_sentence(both, graph, changes):
    """However a dump is damaged, both converters refuse it, or both give the same text."""
    data = dumped(*graph)
    for place, cut, put in changes:
        at = int(place * len(data))
        data = data[:at] + put + data[at + cut :]
    results = [outcome(data, run) for run in both]
    assert results[0] == results[1]


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_noise_ends_in_a_sentence(both, noise):
    """Any bytes between the two ends of a dump are refused, or are one."""
    ends = dumped(*_smallest())
    end = ends.rindex(b"Z")
    assert outcome(ends[:end] + noise + ends[end:], both[0]) == outcome(
        ends[:end] + noise + ends[end:], both[1]
    )


def _smallest():
    part = v8format.Nodes()
    part.types.append(SYNTHETIC)
    for column in (part.names, part.sizes, part.edge_counts, part.marks):
        column.append(0)
    part.ids.append(1)
    return [part, v8format.Nodes()], [""]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda data: b"", "does not begin"),
        (lambda data: data[:8] + b"\x03" + data[9:], "its version is 3, known are 1 and 2"),
        (lambda data: data[:8] + b"\x02" + data[9:], "no count of 'allocations'"),
        (lambda data: data[:-1], "cut short"),
        (lambda data: data[:40], "cut short"),
        (lambda data: data.replace(b'"nodes":1,', b'"nodes":2,'), "stream N ends within an item"),
        (lambda data: data.replace(b'"edges":0', b'"edges":1'), "its nodes have 0 edges"),
        (lambda data: data.replace(b'"objects":0', b'"objects":7'), "it has 0 objects"),
        (lambda data: data.replace(b'"nodes":1,', b'"nodes":-1'), "its block Z is no JSON"),
    ],
)
def test_a_sentence_says_what_is_wrong(both, change, cause, tmp_path):
    """Each kind of damage has its sentence, at the program's standard error; its status is 1."""
    file = tmp_path / "dump"
    file.write_bytes(change(dumped(*_smallest())))
    done = program(file)
    assert done.returncode == 1
    assert done.stderr.startswith(b"cannot convert the heap dump: ")
    assert cause in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def program(file: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs the converter as an agent does."""
    folder = walkers.with_c_walker()
    with file.open("rb") as dump_file:
        return subprocess.run(
            [sys.executable, "-S", "-m", "memwatch_hook.convert", *arguments],
            stdin=dump_file,
            capture_output=True,
            env={"PYTHONPATH": str(folder)},
            check=False,
        )


@pytest.mark.parametrize("arguments", [(), ("--python",)])
def test_the_program_says_what_it_converted(tmp_path, arguments):
    """The last words are JSON with the counts, sizes and the converter; the text is on stdout."""
    file = tmp_path / "dump"
    file.write_bytes(bytes.fromhex(VECTORS["dumps"][0]["hex"]))
    done = program(file, *arguments)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stderr)
    assert said["size_bytes"] == len(done.stdout)
    assert said["dump_bytes"] == file.stat().st_size
    assert said["converter"] == ("python" if arguments else "c")
    assert (said["objects"], said["self_size_bytes"]) == (7, 1626)
    assert said["head"]["walker"] == "python"


def test_a_reader_that_is_gone_ends_the_program(tmp_path):
    """The program ends when nobody takes what it writes, and says so."""
    file = tmp_path / "dump"
    file.write_bytes(bytes.fromhex(VECTORS["dumps"][0]["hex"]))
    reader, writer = os.pipe()
    os.close(reader)
    with file.open("rb") as dump_file:
        done = subprocess.run(
            [sys.executable, "-m", "memwatch_hook.convert"],
            stdin=dump_file,
            stdout=writer,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(walkers.with_c_walker())},
            check=False,
        )
    os.close(writer)
    assert done.returncode == 1
    assert b"Broken pipe" in done.stderr


def test_a_pipe_is_no_dump():
    """What cannot be read twice is refused."""
    reader, writer = os.pipe()
    with pytest.raises(convert.ConvertError, match="it is no file"):
        convert.read_plan(reader)
    os.close(reader)
    os.close(writer)


def test_strings_are_escaped_alike(both):
    """Control characters, quotes and all of Unicode stand in the JSON as they must."""
    parts, _ = _smallest()
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028é漢😀'
    data = dumped(parts, ["", text, "x" * dump.MAX_STRING_BYTES])
    texts = [converted(data, run) for run in both]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["strings"][1:] == [text, "x" * dump.MAX_STRING_BYTES]
