"""The table of commands: found by name, imported only when used.

`memwatchctl --help` must start at once, so that the short help stands here and a test
compares it with the command's own.
"""

import importlib
from collections.abc import Mapping
from typing import NamedTuple

import click

from memwatchctl.errors import MEANINGS
from memwatchctl.options import Group


class Entry(NamedTuple):
    """One command: where it is and what the list says of it."""

    section: str
    module: str
    short_help: str


_CAPTURING, _LOOKING, _RUNNING = "Capturing", "Looking", "Running and setting up"
_OFFLINE = "Snapshot files, without a server"

#: Every top-level command, in the order of the help. The attribute is `command`.
TABLE: Mapping[str, Entry] = {
    "capture": Entry(_CAPTURING, "capture", "Snapshots before and after, and what grew."),
    "snapshot": Entry(_CAPTURING, "snapshot", "One snapshot of a local process into a file."),
    "internal-snapshot": Entry(
        _CAPTURING, "internal_snapshot", "One snapshot of the one process of this container."
    ),
    "isolate": Entry(_CAPTURING, "isolate", "Changes around a service: list, undo."),
    "attach": Entry(
        _CAPTURING, "attach", "Capture a running pod that has no agent; nothing restarts."
    ),
    "targets": Entry(_LOOKING, "targets", "Processes that can be captured."),
    "leaks": Entry(_LOOKING, "leaks", "What the leak detector sees."),
    "sessions": Entry(_LOOKING, "sessions", "Timed captures: list, follow, cancel."),
    "snapshots": Entry(_LOOKING, "snapshots", "Stored snapshots: list, download, upload."),
    "profiles": Entry(_LOOKING, "profiles", "Recordings: types, allocations, native memory."),
    "reports": Entry(_LOOKING, "reports", "What the analysis of a session found."),
    "analyze": Entry(_OFFLINE, "analyze", "What one snapshot file holds, by class."),
    "compare": Entry(_OFFLINE, "compare", "Which objects leak, from two snapshot files or more."),
    "query": Entry(_OFFLINE, "query", "Objects, retainers and paths in a snapshot file."),
    "serve": Entry(_RUNNING, "serve", "Run a controller and an agent on this machine."),
    "doctor": Entry(_RUNNING, "doctor", "Is everything that captures need in order?"),
    "explain": Entry(_RUNNING, "explain", "What a refusal means, and what to do next."),
    "config": Entry(_RUNNING, "config", "Contexts: which controller to talk to."),
    "version": Entry(_RUNNING, "version", "Versions of this program and of the controller."),
    "completion": Entry(_RUNNING, "completion", "Shell completion for bash, zsh or fish."),
}


class LazyGroup(Group):
    """The root group: knows its commands by `TABLE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now; None where there is none."""
        entry = TABLE.get(cmd_name)
        if entry is None:
            return None
        found = importlib.import_module(f"memwatchctl.commands.{entry.module}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands by section, without importing one."""
        for section in dict.fromkeys(entry.section for entry in TABLE.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(n, e.short_help) for n, e in TABLE.items() if e.section == section]
                )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), text) for code, text in MEANINGS.items()])
