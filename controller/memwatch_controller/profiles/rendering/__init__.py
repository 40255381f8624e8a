"""What makes reports, by kind; runs in a worker process only."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from memwatch_controller.profiles.reporting import RenderJob

#: Makes a report of an artifact (and of an earlier one, where it compares) at the job's output.
Renderer = Callable[[RenderJob, Path, Path | None], None]

#: Each is, with underscores, the name of a module beside this one, which has a table RENDERERS
#: by report and format.
_KINDS = ("types", "allocations", "native", "sampling", "node-allocations", "stats", "near-limit")


def render(job: RenderJob, path: Path, base: Path | None) -> None:
    """Makes the report that a job asks for.

    Raises:
        ValueError: the artifact is not what it should be.
    """
    if job.kind not in _KINDS:
        raise ValueError(f"there is nothing that makes reports of kind '{job.kind}'")
    # Each on demand: memray's modules take a second to load.
    name = job.kind.replace("-", "_")
    module = import_module(f"memwatch_controller.profiles.rendering.{name}")
    renderers: Mapping[str, Renderer] = module.RENDERERS
    renderers[f"{job.report}.{job.format}"](job, path, base)
