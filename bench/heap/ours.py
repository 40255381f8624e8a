"""What the bench runs of our own, each in a process of its own: MODE[+warm] FILE [FILE]."""

import sys
import time
from pathlib import Path


def retained(file: Path) -> object:
    """Load, dominators, retained sizes."""
    from memwatch_heap.dominators import dominators
    from memwatch_heap.formats import read
    from memwatch_heap.retained import retained_sizes, shallow_sizes

    graph = read(file)
    tree = dominators(graph)
    return int(retained_sizes(tree, shallow_sizes(graph)).bytes[graph.root])


def full(file: Path) -> object:
    """All measures, the table of classes and the statistics."""
    from memwatch_heap.classes import class_rows
    from memwatch_heap.formats import read
    from memwatch_heap.measures import measure
    from memwatch_heap.statistics import statistics

    graph = read(file)
    measures = measure(graph)
    return len(class_rows(graph, measures)), statistics(graph, measures).total


def diff(before: Path, after: Path) -> object:
    """The rows of a comparison."""
    from memwatch_heap.diff import compare_files

    return len([row for row in compare_files(before, after) if row.new_count or row.gone_count])


def index(file: Path, out: Path) -> object:
    """Everything, and an index of it."""
    from memwatch_heap.formats import read
    from memwatch_heap.index import write_index
    from memwatch_heap.measures import measure

    graph = read(file)
    write_index(out, graph, measure(graph))
    return graph.node_count, graph.edge_count


def query(file: Path) -> object:
    """Milliseconds of each kind of query on an opened index, the first and the median of 50."""
    from memwatch_heap.index import HeapIndex

    begun = time.perf_counter()
    opened = HeapIndex.open(file)
    times = {"open": [time.perf_counter() - begun]}
    largest = max(opened.classes, key=lambda row: row.count)
    for turn in range(50):
        offset = turn * largest.count // 50
        begun = time.perf_counter()
        page = opened.objects(largest.key, offset, 100)
        times.setdefault("objects", []).append(time.perf_counter() - begun)
        node = page.rows[0].id
        for name in ("retainers", "path", "dominated", "dominators", "references"):
            begun = time.perf_counter()
            getattr(opened, name)(node)
            times.setdefault(name, []).append(time.perf_counter() - begun)
    return {
        name: [round(1000 * found[0], 1), round(1000 * sorted(found)[len(found) // 2], 2)]
        for name, found in times.items()
    }


if __name__ == "__main__":
    modes = {one.__name__: one for one in (retained, full, diff, index, query)}
    name, _, warm = sys.argv[1].partition("+")
    run, files = modes[name], list(map(Path, sys.argv[2:]))
    print(run(*files))
    if warm:  # what a worker pays that has done it before
        begun = time.process_time()
        run(*files)
        print(f"again: {time.process_time() - begun:.2f} s of CPU")
