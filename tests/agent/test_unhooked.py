"""`unhooked.py`: each Python process without a hook is told why, with what to do."""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from memwatch_agent import unhooked
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.hooks import HookFinder
from memwatch_agent.processes import ProcessTable
from memwatch_agent.sampling import Sampler
from memwatch_agent.targets import Roster
from memwatch_agent.unhooked import Facts, why
from memwatch_hook import bootstrap
from tests.agent.fakes import PLACE, found
from tests.support.processes import running, wait_until
from tests.support.runtimes import ROOT

THERE = {"bootstrap": "/opt/hook/bootstrap"}
HOOK = f"{ROOT / 'hook/bootstrap'}:{ROOT / 'hook'}"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "no memwatch hook answers in it: PYTHONPATH does not name the hook's bootstrap"),
        ({"version": "3.8"}, "it runs CPython 3.8; the hook is for CPython 3.9 to 3.14 with"),
        ({"version": "3.15.1"}, "it runs CPython 3.15.1; the hook"),
        ({"version": "3.14.2", **THERE}, "its hook should be there and does not answer"),
        ({"version": "3.13", "free_threaded": True}, "it runs a free-threaded CPython"),
        ({"switch": "Off", **THERE}, "its hook is switched off by MEMWATCH_HOOK=Off; restart it"),
        ({"silent": True, **THERE}, "its hook's socket is there and nobody answers"),
        ({"embedded": "uwsgi"}, "it is uWSGI: its workers have the hook if PYTHONPATH names it"),
        ({"embedded": "mod_wsgi-express"}, "its Python is inside mod_wsgi-express; start it with"),
        ({"tool": "pip", **THERE}, "it runs pip, and the hook stays out of installers"),
        ({"flags": "IS", **THERE}, "it was started with -S, which loads no sitecustomize and no"),
        ({"flags": "bI", **THERE}, "it was started with -I, which ignores PYTHONPATH; run `python"),
        ({"flags": "E"}, "it was started with -E, which ignores PYTHONPATH"),
        ({"environment": False}, "no memwatch hook answers in it, and its environment cannot be"),
        ({"rival": "/app", **THERE}, "the sitecustomize.py of '/app' comes before the hook's"),
        ({"too_young": True, **THERE}, "it was started before the hook was put into '/opt/hook/"),
        (
            {"folder": "/x", "folder_fault": "is not there", **THERE},
            "its hook has no place to listen: '/x' is not there; set MEMWATCH_HOOK_DIR",
        ),
        (THERE, "its hook should be there and does not answer"),
    ],
)
def test_every_obstacle_is_named(facts, reason):
    """The first thing that explains it, and always a next step."""
    told = why(Facts(**facts))

    assert told.startswith(reason)
    assert ";" in told


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        ("", ""),
        ("app.py -E", ""),
        ("-E app.py", "E"),
        ("-bIS -u app.py", "bISu"),
        ("-W error -E app.py", "E"),
        ("-Werror -E -", "E"),
        ("-X dev -m app -E", ""),
        ("-Em app", "E"),
        ("-Ec code", "E"),
        ("--check-hash-based-pycs=default -I x", "I"),
    ],
)
def test_options_of_the_interpreter_are_told_from_the_program_s(words, letters):
    """Options end with the program, and some take a value with them."""
    assert unhooked.flags(("python", *words.split())) == letters


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    """A process's files are a stranger's; names with NUL or without a root are passed over."""
    os.mkfifo(tmp_path / "sitecustomize.py")
    path = f"{tmp_path}:relative::\0x"
    facts = unhooked.look(
        found(runtime=Runtime.PYTHON, exe="/usr/bin/python3.13t", environ={"PYTHONPATH": path}),
        silent=False,
    )

    assert facts.bootstrap == ""
    assert facts.free_threaded


REAL = [
    ((), {}, "PYTHONPATH does not name the hook's bootstrap"),
    (("-I",), {"PYTHONPATH": HOOK}, "it was started with -I"),
    (("-S",), {"PYTHONPATH": HOOK}, "it was started with -S"),
    ((), {"PYTHONPATH": HOOK, "MEMWATCH_HOOK": "off"}, "switched off by MEMWATCH_HOOK=off"),
    ((), {"PYTHONPATH": HOOK, "MEMWATCH_HOOK_DIR": "/tmp/" + "x" * 150}, "is too long for"),
    ((), {"PYTHONPATH": f"{{rival}}:{HOOK}"}, "comes before the hook's on PYTHONPATH"),
    ((), {"PYTHONPATH": HOOK}, None),
]


async def test_real_processes_are_told_why(tmp_path):
    """Seven ways to start Python, one look of the agent: six reasons and a hook."""
    folder, rival = tmp_path / "h", tmp_path / "rival"
    rival.mkdir()
    (rival / "sitecustomize.py").write_text("")
    code = "import time; print('ready', flush=True); time.sleep(60)"
    with contextlib.ExitStack() as stack:
        expected, logs = {}, []
        for number, (options, env, reason) in enumerate(REAL):
            own = {"PYTHONPATH": "", "MEMWATCH_HOOK": "", "MEMWATCH_HOOK_DIR": str(folder), **env}
            own["PYTHONPATH"] = own["PYTHONPATH"].format(rival=rival)
            logs.append(tmp_path / f"log{number}")
            command = [sys.executable, *options, "-c", code]
            process = stack.enter_context(running(command, env=own, log=logs[-1]))
            expected[process.pid] = reason

        def ready():
            return all(log.read_text() for log in logs) and list(folder.glob("*.sock"))

        await asyncio.to_thread(wait_until, ready)
        table = ProcessTable(Path("/proc"), expected)
        finder = HookFinder([folder], time.monotonic, time.time)
        sampler = Sampler(Path("/proc"), time.time)
        targets = await Roster(table, finder, sampler, PLACE, only=True).refresh()

    reasons = {target.found.pid: target.unavailable for target in targets}
    for pid, reason in expected.items():
        assert reason in reasons[pid] if reason else reasons[pid] == "", (reason, reasons[pid])


def test_tools_are_those_of_the_hook():
    """What the hook stays out of is what the agent says it stays out of; memwatch is no target."""
    ours = {tool for tool in bootstrap.TOOLS if tool.startswith("memwatch")}
    assert bootstrap.TOOLS - ours == unhooked._TOOLS
