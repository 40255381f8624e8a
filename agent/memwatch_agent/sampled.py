"""Takes in profiles that services recorded by themselves: files that their hooks left.

See docs/formats/profiles.md. A file is believed only as far as it is a profile of a process that
is a target: its owner may write anything into it.
"""

import asyncio
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import structlog

from memwatch_agent.drivers.base import PauseSource
from memwatch_agent.drivers.hook import believed, believed_notes
from memwatch_agent.drivers.hookprofiles import believed_word
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions, RecordFacts
from memwatch_agent.errors import SpoolError
from memwatch_agent.recording import RecordSpec, artifact_of
from memwatch_agent.spool import Spool
from memwatch_agent.taking import file_name
from memwatch_agent.targets import Roster, Target
from memwatch_proto.v1 import common_pb2, snapshots_pb2

#: How the request id of such a profile begins; the controller knows it by that.
PREFIX = "sampled."

#: Processes that were seen are remembered, for what they left when they died.
MAX_SEEN = 2_000

#: They are told in each heartbeat.
MAX_TOLD = 20

#: A folder that another agent was given is that one's: an agent that was given folders of its own
#: takes what lies elsewhere only when nobody has for so long.
GRACE_SECONDS = 60.0

#: Files of one look; the rest waits for the next.
MAX_FILES = 20

#: A folder is read this far.
MAX_NAMES = 2_000

MAX_META_BYTES = 64 * 1024
MAX_BYTES = 1 << 34

_PIECE_BYTES = 1 << 20
_META = ".profile.json"
_NAME = re.compile(r"(python|node)-(\d{1,10})-(\d{1,20})-(\d{1,16})-([a-z-]{1,32})\.profile\.json")

#: What each is, for people.
_SAMPLED = ("of one request, sampled by the service",)
_ABOUT = {ProfileKind.NEAR_LIMIT: ()}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Found:
    """One profile that lies there, by its name."""

    folder: Path
    stem: str
    inner_pid: int
    start_ticks: int
    millis: int
    kind: ProfileKind
    runtime: str


class Sampled:
    """Looks through the hooks' folders, and spools what is there."""

    def __init__(
        self,
        folders: Sequence[Path],
        roster: Roster,
        spool: Spool,
        new_id: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """`folders`: where hooks write besides where each target itself says; `now`: Unix time."""
        self._folders = tuple(folders)
        self._now = now
        self._roster = roster
        self._spool = spool
        self._new_id = new_id
        self._seen: dict[tuple[int, int], Target] = {}

    def waiting(self) -> Sequence[snapshots_pb2.Snapshot]:
        """Those that lie in the spool, the oldest first."""
        spooled = (one for one in self._spool.snapshots() if one.request_id.startswith(PREFIX))
        return [one for one, _ in zip(spooled, range(MAX_TOLD), strict=False)]

    async def collect(self) -> None:
        """Takes in what is there now."""
        targets = {
            (target.found.inner_pid, target.found.start_ticks): target
            for target in self._roster.targets
            if target.hook is not None
        }
        self._seen = dict([*self._seen.items(), *targets.items()][-MAX_SEEN:])
        if self._seen:
            await asyncio.to_thread(self._collect, self._seen)

    def _collect(self, targets: Mapping[tuple[int, int], Target]) -> None:
        folders = {*self._folders, *_own_folders(targets.values())}
        found = [one for folder in folders for one in _listed(folder)]
        for one in sorted(found, key=lambda one: one.millis)[:MAX_FILES]:
            target = targets.get((one.inner_pid, one.start_ticks))
            # A process that still lives may come away from its limit, and then removes its box.
            boxed = one.kind is ProfileKind.NEAR_LIMIT
            if target is None or target.found.runtime != one.runtime:
                continue
            if self._is_anothers(one):
                continue
            if not (boxed and self._roster.alive(target)):
                self._take(one, target)

    def _is_anothers(self, one: _Found) -> bool:
        """Whether another agent may still come for it."""
        elsewhere = bool(self._folders) and one.folder not in self._folders
        return elsewhere and self._now() - one.millis / 1000 < GRACE_SECONDS

    def _take(self, one: _Found, target: Target) -> None:
        request_id = f"{PREFIX}{target.id}.{one.millis}"
        try:
            if self._spool.by_request(request_id) is None:
                self._spool_one(one, target, request_id)
        except SpoolError as error:
            _log.warning("sampled profile not taken in", cause=str(error))
            return
        except (OSError, ValueError, TypeError) as error:
            _log.warning("sampled profile dropped", name=one.stem, cause=str(error)[:300])
        for name in (one.stem + ".profile", one.stem + _META):
            with suppress(OSError):
                (one.folder / name).unlink()

    def _spool_one(self, one: _Found, target: Target, request_id: str) -> None:
        with _opened(one.folder / (one.stem + _META), MAX_META_BYTES) as file:
            told = json.load(file)
        if not isinstance(told, dict):
            raise ValueError("its description is no object")
        artifact_id = self._new_id()
        writer = self._spool.create(artifact_id)
        try:
            with _opened(one.folder / (one.stem + ".profile"), MAX_BYTES) as file:
                while data := file.read(_PIECE_BYTES):
                    writer.write(data)
            blob = writer.finish()
            spec = RecordSpec(request_id, target.id, one.kind, ProfileOptions())
            facts = _facts(told, blob.raw_size_bytes, one.kind)
            artifact = artifact_of(artifact_id, spec, target, facts, blob, one.millis / 1000)
            if one.kind is ProfileKind.NEAR_LIMIT and facts.extension == "heapsnapshot":
                _make_snapshot(artifact, target)
            ended = believed(told.get("ended_millis"))
            artifact.end_time.FromMilliseconds(int(ended or one.millis))
            writer.keep(artifact)
        finally:
            writer.abort()  # does nothing to what was kept
        _log.info("sampled profile taken in", artifact=artifact_id, target=target.id)


def _facts(told: Mapping[str, Any], size: int, kind: ProfileKind) -> RecordFacts:
    if told.get("size_bytes") != size:
        raise ValueError(f"it has {size} bytes instead of {str(told.get('size_bytes'))[:20]}")
    pause = believed(told.get("pause_millis"))
    return RecordFacts(
        size_bytes=size,
        content_type=believed_word(told.get("content_type"), "application/octet-stream"),
        extension=believed_word(told.get("extension"), "bin"),
        pause_millis=pause or 0.0,
        pause_source=PauseSource.UNKNOWN if pause is None else PauseSource.RUNTIME,
        cpu_millis=int(believed(told.get("cpu_millis")) or 0),
        extra_memory_bytes=int(believed(told.get("extra_memory_bytes")) or 0),
        rss_before_bytes=0,
        rss_after_bytes=0,
        duration_millis=0.0,
        notes=(*_ABOUT.get(kind, _SAMPLED), *believed_notes(told.get("notes"))),
    )


def _make_snapshot(artifact: snapshots_pb2.Snapshot, target: Target) -> None:
    """Makes a heap snapshot of what would else be a profile: it is to be found among those."""
    found = target.found
    began = artifact.capture_time.ToMilliseconds() / 1000
    artifact.kind = common_pb2.SNAPSHOT_KIND_HEAP
    artifact.ClearField("profile_kind")
    artifact.origin = snapshots_pb2.SNAPSHOT_ORIGIN_NEAR_LIMIT
    artifact.way = common_pb2.CAPTURE_WAY_HOOK
    artifact.cost.manner = common_pb2.CAPTURE_MANNER_FORKED
    artifact.file_name = file_name(
        found.container.container_id, found.pid, began, ProfileKind.NEAR_LIMIT
    )


def _own_folders(targets: Iterable[Target]) -> set[Path]:
    """Where the targets' hooks write by their own environment, as the agent reaches it."""
    folders = set()
    for target in targets:
        found, environ = target.found, target.found.environ or {}
        for name in ("MEMWATCH_PROFILING_OUTPUT_DIR", "MEMWATCH_HOOK_DIR"):
            told = environ.get(name, "")
            if told.startswith("/") and "\0" not in told and ".." not in told.split("/"):
                folders.add(found.root / told.lstrip("/"))
        folders.add(found.root / f"tmp/memwatch-{found.uid}")
    return folders


def _listed(folder: Path) -> list[_Found]:
    listed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry, _ in zip(entries, range(MAX_NAMES), strict=False):
            match = _NAME.fullmatch(entry.name)
            if match and match[5] in set(ProfileKind):
                stem = entry.name.removesuffix(_META)
                pid, ticks, millis = (int(match[group]) for group in (2, 3, 4))
                kind = ProfileKind(match[5])
                listed.append(_Found(folder, stem, pid, ticks, millis, kind, match[1]))
    return listed


def _opened(path: Path, most_bytes: int) -> BinaryIO:
    """A regular file of bounded size; no link is followed, no pipe is waited for.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is something else.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
        os.close(file)
        raise ValueError(f"it is no file of at most {most_bytes} bytes")
    return os.fdopen(file, "rb")
