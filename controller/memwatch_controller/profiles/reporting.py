"""Makes reports of profiles in worker processes, each of bounded memory and time."""

import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from memwatch_controller.analysis.guard import BASE_BYTES
from memwatch_controller.analysis.jobs import JobFailedError
from memwatch_controller.analysis.room import NoRoomError
from memwatch_controller.analysis.runner import Runner
from memwatch_controller.errors import (
    AnalysisTooLargeError,
    InvalidArgumentError,
    ProfileReportError,
)
from memwatch_controller.profile import Artifact, Profile
from memwatch_controller.profiles import catalogue
from memwatch_controller.snapshots.names import safe_name
from memwatch_controller.store.blobs import BlobStore, blob_key

PROFILE_WORKER = (sys.executable, "-m", "memwatch_controller.profiles.worker")

#: Memory for each byte of an artifact: parsed JSON, or memray's tables.
MEMORY_FACTOR = 12

MAX_ROWS, DEFAULT_ROWS = 10_000, 100


@dataclass(frozen=True, slots=True)
class ReportOrder:
    """What is asked for; empty words and 0 mean the default."""

    report: str = ""
    format: str = ""
    base_id: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report as a file."""

    report: str
    format: str
    content_type: str
    file_name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class RenderJob:
    """What a worker is asked: an artifact (as stored), what to make of it, and where to put it."""

    kind: str
    report: str
    format: str
    path: str
    base_path: str
    output: str
    limit: int
    memory_bytes: int
    notes: list[str] = field(default_factory=list)


class Reporter:
    """Renders; its runner bounds how many workers there are."""

    def __init__(self, blobs: BlobStore, runner: Runner, scratch: Path) -> None:
        """`scratch`: where reports and unpacked artifacts lie while they are needed."""
        self._blobs = blobs
        self._runner = runner
        self._scratch = scratch

    @contextlib.asynccontextmanager
    async def rendered(
        self, profile: Profile, base: Profile | None, order: ReportOrder
    ) -> AsyncIterator[Rendered]:
        """A report as a file that is there for the block.

        Raises:
            InvalidArgumentError: there is no such report.
            ProfileReportError, AnalysisTooLargeError: it cannot be made.
            BlobLostError: the artifact is gone.
        """
        info, chosen_format = catalogue.chosen(profile, order.report, order.format)
        if info.needs_base and base is None:
            cause = f"report '{info.name}' compares with an earlier profile: name it as base"
            raise InvalidArgumentError("make a report", cause)
        if not 0 <= order.limit <= MAX_ROWS:
            raise InvalidArgumentError("make a report", f"'limit' must be 0 to {MAX_ROWS}")
        artifact = profile.artifact
        assert artifact is not None
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=self._scratch))
            output = Path(folder) / "report"
            job = RenderJob(
                kind=profile.kind.value,
                report=info.name,
                format=chosen_format,
                path=str(await self._local(stack, artifact)),
                base_path=str(await self._local(stack, base.artifact))
                if base and base.artifact
                else "",
                output=str(output),
                limit=order.limit or DEFAULT_ROWS,
                memory_bytes=self._runner.limits.memory_bytes,
                notes=list(artifact.notes),
            )
            await self._run(profile, base, job)
            yield _rendered(artifact, info.name, chosen_format, output)

    async def _local(self, stack: contextlib.AsyncExitStack, artifact: Artifact) -> Path:
        key = blob_key(artifact.id, artifact.stored_sha256)
        return await stack.enter_async_context(self._blobs.local(key, artifact.stored_size_bytes))

    async def _run(self, profile: Profile, base: Profile | None, job: RenderJob) -> None:
        doing = f"make report '{job.report}' of profile '{profile.id}'"
        sizes = [one.artifact.raw_size_bytes for one in (profile, base) if one and one.artifact]
        needed = BASE_BYTES + MEMORY_FACTOR * sum(sizes)
        if job.format == catalogue.RAW:
            needed = BASE_BYTES
        try:
            async with self._runner.room.held(needed, self._runner.limits.memory_bytes):
                await self._runner.perform(job)
        except NoRoomError as no:
            raise AnalysisTooLargeError("", needed, no.allowed_bytes, no.free_bytes, doing) from no
        except JobFailedError as error:
            raise ProfileReportError(job.report, profile.id, str(error)) from error


def _rendered(artifact: Artifact, report: str, chosen_format: str, output: Path) -> Rendered:
    stem = artifact.file_name
    if chosen_format == catalogue.RAW:
        name, content_type = stem, artifact.content_type
    else:
        name = safe_name(f"{stem.split('.')[0]}_{report}.{catalogue.ENDINGS[chosen_format]}")
        content_type = catalogue.CONTENT_TYPES[chosen_format]
    return Rendered(report, chosen_format, content_type, name, output, output.stat().st_size)
