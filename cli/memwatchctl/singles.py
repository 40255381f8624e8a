"""One snapshot by a private agent: which process, then into a file."""

import os
from dataclasses import dataclass
from pathlib import Path

from memwatch_proto.v1 import agents_pb2, common_pb2, snapshots_pb2, targets_pb2
from memwatchctl import downloads, selectors
from memwatchctl.agent import Agent
from memwatchctl.commands.snapshots import why_it_paused
from memwatchctl.errors import CallError, TargetError
from memwatchctl.output import Output, plain, word
from memwatchctl.private import not_a_target
from memwatchctl.progress import capture_step, display, transfer_step
from memwatchctl.text import printable, size

#: What is quoted of a command line.
MAX_COMMAND = 60


@dataclass(frozen=True)
class Wish:
    """What the flags said; `max_pause` in milliseconds, 0 for any."""

    file: Path
    way: str | None
    force: bool
    max_pause: int
    overwrite: bool
    pause: str = "auto"


def with_pid(agent: Agent, pid: int) -> targets_pb2.Target:
    """The target of a pid.

    Raises:
        TargetError: the agent does not see it as one.
        CallError: it cannot be captured.
    """
    for target in agent.targets():
        if target.pid == pid:
            if target.unavailable_reason:
                raise CallError("NO_WAY_IN", _no_way_in(target))
            return target
    raise TargetError(not_a_target(pid, "take snapshot of"))


def meant(agent: Agent, selector: targets_pb2.TargetSelector) -> targets_pb2.Target:
    """The one process that a selector means.

    Raises:
        TargetError: there is none, or more than one.
        CallError: it cannot be captured.
    """
    seen = [target for target in agent.targets() if not _is_ours(target.pid)]
    named = f"of {selectors.describe(selector)}"
    found = selectors.only(
        [target for target in seen if selectors.matches(target, selector)], named, "take snapshot"
    )
    if found.unavailable_reason:
        raise CallError("NO_WAY_IN", _no_way_in(found))
    return found


def the_only(agent: Agent) -> targets_pb2.Target:
    """The one process that can be captured, other than our own programs.

    Raises:
        TargetError: there is none, or more than one.
        CallError: there is one, and it cannot be captured.
    """
    seen = [target for target in agent.targets() if not _is_ours(target.pid)]
    able = [target for target in seen if not target.unavailable_reason]
    if len(able) == 1:
        return able[0]
    if len(able) > 1:
        raise TargetError(
            f"cannot take snapshot: {len(able)} processes could be meant: {_listed(able)}; "
            "name one with 'memwatchctl snapshot --pid'"
        )
    if len(seen) == 1:
        raise CallError("NO_WAY_IN", _no_way_in(seen[0]))
    if seen:
        raise TargetError(
            f"cannot take snapshot: none of {len(seen)} processes can be captured: "
            f"{_listed(seen)}; name one with 'memwatchctl snapshot --pid' to see why"
        )
    raise TargetError(
        "cannot take snapshot: there is no Node.js or CPython process here that this user may see; "
        "run in its container, as its user or as root"
    )


def take(agent: Agent, target: targets_pb2.Target, wish: Wish, out: Output, no_color: bool) -> None:
    """Takes the snapshot, writes the file and says what it cost."""
    request = agents_pb2.CaptureRequest(
        target_id=target.id,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=f"CAPTURE_WAY_{(wish.way or 'unspecified').upper()}",
        force=wish.force,
        max_pause_millis=wish.max_pause,
        pause=f"PAUSE_MODE_{wish.pause.upper()}",
    )
    with display(no_color) as shown:
        shown.note(f"taking snapshot of pid {target.pid} ({described(target)})")
        snapshot = agent.capture(request, lambda progress: shown.show(capture_step(progress)))
        downloads.save(
            lambda offset: agent.stream(snapshot.id, offset),
            snapshot,
            wish.file,
            downloads.form_of(wish.file),
            overwrite=wish.overwrite,
            on_progress=lambda done, all_: shown.show(transfer_step("saving", done, all_)),
        )
    if out.is_table:
        out.line(f"{wish.file}: {size(wish.file.stat().st_size)}{_cost(snapshot)}")
        if why := why_it_paused(snapshot):
            out.line(why, style="yellow")
    else:
        out.document({"file": str(wish.file), "snapshot": plain(snapshot)})


def described(target: targets_pb2.Target) -> str:
    """Such as `node 22.11.0, shop`."""
    version = f"{word(target, 'runtime')} {target.runtime_version}".strip()
    return printable(f"{version}, {target.service}" if target.service else version)


def _cost(snapshot: snapshots_pb2.Snapshot) -> str:
    """What it cost the process, in a clause."""
    cost = snapshot.cost
    if not cost.pause_source:
        return ""
    extra = f", {size(cost.extra_memory_bytes)} more memory" if cost.extra_memory_bytes else ""
    child = ", written by a forked child" if cost.manner == common_pb2.CAPTURE_MANNER_FORKED else ""
    tries = f", try {len(cost.tries)}" if cost.tries else ""
    return f"; the process stood still for {cost.pause_millis} ms{extra}{child}{tries}"


def _no_way_in(target: targets_pb2.Target) -> str:
    return f"cannot take snapshot of pid {target.pid}: {target.unavailable_reason}"


def _is_ours(pid: int) -> bool:
    """Whether a process is this command or was started by it."""
    own = os.getpid()
    for _ in range(16):  # deeper than our own tree ever is
        if pid == own:
            return True
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
        if pid <= 1:
            return False
    return False


def _tail(command: str) -> str:
    """The end of a command line, where the script's name is."""
    return command if len(command) <= MAX_COMMAND else "…" + command[-MAX_COMMAND:]


def _listed(targets: list[targets_pb2.Target]) -> str:
    shown = [
        f"{t.pid} ({described(t)}: {_tail(printable(t.command))})"
        for t in targets[: selectors.MAX_LISTED]
    ]
    more = len(targets) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
