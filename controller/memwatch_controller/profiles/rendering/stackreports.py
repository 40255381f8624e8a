"""Reports that every profile of stacks has; a kind says how its artifact is read."""

from collections.abc import Callable
from pathlib import Path

from memwatch_controller.profiles.rendering import documents, flamepage, stacks
from memwatch_controller.profiles.rendering.pprof import pprof
from memwatch_controller.profiles.rendering.stacks import Tree
from memwatch_controller.profiles.reporting import RenderJob

Renderer = Callable[[RenderJob, Path, Path | None], None]

#: Reads an artifact: its tree and the mean bytes between two samples (1: nothing is left out).
Read = Callable[[Path], tuple[Tree, int]]


def renderers(read: Read, title: str) -> dict[str, Renderer]:
    """The reports `table`, `tree`, `flamegraph`, `pprof` and `diff`."""

    def table(job: RenderJob, path: Path, _base: Path | None) -> None:
        tree, _ = read(path)
        rows = stacks.by_function(tree)
        documents.write(job, documents.table(job, stacks.COLUMNS, rows, tree.sums()))

    def as_tree(job: RenderJob, path: Path, _base: Path | None) -> None:
        tree, _ = read(path)
        rows = stacks.as_rows(tree)
        documents.write(job, documents.table(job, stacks.TREE_COLUMNS, rows, tree.sums()))

    def flame_json(job: RenderJob, path: Path, _base: Path | None) -> None:
        root = stacks.flame(read(path)[0])
        about = {"format": documents.FORMAT, "kind": job.kind, "report": job.report}
        documents.write(job, {**about, "root": root, "notes": job.notes})

    def flame_html(job: RenderJob, path: Path, _base: Path | None) -> None:
        text = flamepage.page(title, stacks.flame(read(path)[0]), job.notes)
        Path(job.output).write_text(text, encoding="utf-8")

    def as_pprof(job: RenderJob, path: Path, _base: Path | None) -> None:
        Path(job.output).write_bytes(pprof(*read(path)))

    def diff(job: RenderJob, path: Path, base: Path | None) -> None:
        assert base is not None
        earlier, later = read(base)[0], read(path)[0]
        rows, totals = stacks.difference(earlier, later), later.sums()
        totals["size_delta_bytes"] = totals["size_bytes"] - earlier.sums()["size_bytes"]
        totals["count_delta"] = totals["count"] - earlier.sums()["count"]
        documents.write(job, documents.table(job, stacks.DIFF_COLUMNS, rows, totals))

    return {
        "table.json": table,
        "tree.json": as_tree,
        "flamegraph.json": flame_json,
        "flamegraph.html": flame_html,
        "pprof.pprof": as_pprof,
        "diff.json": diff,
    }
