"""Serves a corpus program over stdin: `work N`, `snapshot FILE`, `quit`; each is answered by `ok`."""

import sys

from memwatch_hook.snapshot import write_snapshot

_unit = 0


def _run(command, argument, work):
    global _unit
    if command == "work":
        for _ in range(int(argument)):
            work(_unit)
            _unit += 1
    elif command == "snapshot":
        write_snapshot(argument)


def serve(work):
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "quit":
            return
        _run(command, argument, work)
        print("ok", flush=True)
