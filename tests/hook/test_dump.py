"""The heap dump: pinned by golden bytes, read back exactly, compact."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from memwatch_hook import dump, v8format
from tests.hook import dumps

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors/heap_dump.json").read_text())
VECTORS = GOLDEN["dumps"]


def column_parts(nodes, edges, synthetic):
    """Rows as the twin's columns: the synthetic nodes apart."""
    parts, at = [v8format.Nodes(), v8format.Nodes()], 0
    for number, (kind, name, identity, size, count, mark) in enumerate(nodes):
        part = parts[number >= synthetic]
        part.types.append(kind)
        part.names.append(name)
        part.ids.append(identity)
        part.sizes.append(size)
        part.edge_counts.append(count)
        if part is parts[1]:
            part.marks.append(mark)
        for edge_type, name_or_index, to in edges[at : at + count]:
            part.labels.append(name_or_index << 3 | edge_type)
            part.targets.append(to * v8format.NODE_WIDTH)
        at += count
    return parts


def written(parts, strings, head, sites=None):
    pieces: list[bytes] = []
    size = dump.write(parts, strings, head, pieces.append, sites)
    data = b"".join(pieces)
    assert size == len(data)
    return data


def test_golden_dumps_are_written_and_read():
    """The bytes of released versions never change: a reader of another version needs them."""
    for vector in VECTORS:
        nodes, edges = map(tuple, vector["nodes"]), [tuple(edge) for edge in vector["edges"]]
        parts = column_parts(nodes, edges, vector["synthetic"])
        data = written(parts, vector["strings"], vector["head"])
        assert data.hex() == vector["hex"], vector["name"]
        read = dumps.read(bytes.fromhex(vector["hex"]))
        assert [list(node) for node in read.nodes] == vector["nodes"]
        assert [list(edge) for edge in read.edges] == vector["edges"]
        assert (read.strings, read.head, read.end) == (
            vector["strings"],
            vector["head"],
            vector["end"],
        )


def sited(vector):
    """A golden dump with sites as `written` takes it."""
    nodes, edges = map(tuple, vector["nodes"]), [tuple(edge) for edge in vector["edges"]]
    parts, sites = column_parts(nodes, edges, vector["synthetic"]), dump.Sites()
    for stack in vector["stacks"]:
        sites.add([tuple(frame) for frame in stack])
    parts[1].sites.extend(vector["sites"][vector["synthetic"] :])
    sites.left_out = vector["end"]["sites_left_out"]
    return parts, vector["strings"], vector["head"], sites


def test_golden_dumps_with_sites_are_written_and_read():
    """Version 2, which tells where objects were allocated, does not change either."""
    for vector in GOLDEN["dumps_with_sites"]:
        data = written(*sited(vector))
        assert data.hex() == vector["hex"], vector["name"]
        read = dumps.read(data)
        assert (read.version, read.end) == (2, vector["end"])
        assert [list(node) for node in read.nodes] == vector["nodes"]
        assert {number: site for number, site in enumerate(vector["sites"]) if site} == {
            number: 1
            + vector["stacks"].index(
                [
                    [read.strings.index(name), read.strings.index(file), line]
                    for name, file, line in frames
                ]
            )
            for number, frames in read.sites.items()
        }


def test_too_many_frames_are_left_out():
    """A dump keeps the innermost frames of a stack, and no more stacks than a reader must hold."""
    sites = dump.Sites()
    assert sites.add([]) == 0
    assert sites.add([(1, 1, line) for line in range(dump.MAX_SITE_FRAMES + 5)]) == 1
    assert [frame[2] for frame in sites.stacks[0]] == list(range(dump.MAX_SITE_FRAMES))
    numbers = [sites.add([(1, 1, 1)] * 64) for _ in range(dump.MAX_FRAMES // 64)]
    assert numbers[-2:] == [dump.MAX_FRAMES // 64, 0]


@st.composite
def graphs(draw):
    """Nodes with a few edges each; a draw of extremes in every field."""
    count = draw(st.integers(1, 40))
    edge_type = st.sampled_from([1, 2, 3, 5])
    index = st.one_of(st.integers(0, 3), st.integers(0, (1 << 29) - 1))
    one = st.tuples(edge_type, index, st.integers(0, count - 1))
    nodes, edges = [], []
    for _ in range(count):
        own = draw(st.lists(one, max_size=5))
        if draw(st.booleans()):
            own = [(1, place, to) for place, (_, _, to) in enumerate(own)]
        kind, name = draw(st.sampled_from([2, 3, 4, 5, 7])), draw(st.integers(0, 2))
        identity, size = draw(st.integers(1, (1 << 32) - 1)), draw(st.integers(0, 1 << 40))
        nodes.append((kind, name, identity, size, len(own), draw(st.integers(0, (1 << 32) - 1))))
        edges += own
    return nodes, edges


@given(graphs())
def test_what_is_written_is_read(graph):
    """Any graph comes back as it was, whatever its numbers."""
    nodes, edges = graph
    data = written(column_parts(nodes, edges, 0), ["", "a", "b"], {})
    read = dumps.read(data)
    assert (read.nodes, read.edges) == (nodes, edges)


def test_what_many_refer_to_takes_a_byte():
    """A far target is written in full once, then by its slot, though others came between."""
    count, far = 10_000, 1
    nodes = [(3, 1, 16 * number + 1, 48, 1, 0) for number in range(count)]
    edges = [(2, 2, far) if number % 2 else (2, 2, number) for number in range(count)]
    data = written(column_parts(nodes, edges, 1), ["", "dict", "owner"], {})
    assert dumps.read(data).edges == edges
    assert len(data) < count * 7


def test_long_streams_are_cut_into_blocks():
    """No block is over 64 KiB; strings are cut between characters."""
    nodes = [(3, 1, number + 1, 1 << 40, 1, 1) for number in range(20_000)]
    edges = [(2, number, number) for number in range(20_000)]
    data = written(column_parts(nodes, edges, 1), ["", "é" * 10_000, "x\ud800"], {})
    assert dumps.read(data).edges == edges
    assert dumps.read(data).strings[1:] == ["é" * 8192, "x?"]
