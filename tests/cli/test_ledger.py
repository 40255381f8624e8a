"""The undo ledger: on the disk before anything is done, and nobody's once its owner is dead."""

import os
import signal
import subprocess
import sys

import pytest

from memwatchctl.errors import FileError
from memwatchctl.ledger import MAX_KEPT, Ledger
from tests.support.processes import wait_until

OWNER = """
import sys, time
from pathlib import Path
from memwatchctl.ledger import Ledger
with Ledger(Path(sys.argv[1])).open("mw1", {"name": "shop"}) as held:
    held.write("create")
    held.write("start")
    print("held", flush=True)
    time.sleep(600)
"""


def test_entry_of_a_killed_owner_can_be_taken(tmp_path, cli):
    """While the owner lives nobody undoes its work; after a kill -9 anybody may, once."""
    ledger = Ledger(tmp_path / "ledger")
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(ledger.folder)], env=cli.env, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        assert ledger.take("mw1") is None
        assert ledger.is_owned("mw1")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    wait_until(lambda: not ledger.is_owned("mw1"), 10)
    held = ledger.take("mw1")
    assert held
    with held:
        assert held.entry.before == {"name": "shop"}
        assert [step for _, step in held.entry.steps] == ["create", "start"]
        assert ledger.take("mw1") is None
        held.done = True
    assert list(ledger.entries()) == []
    assert ledger.take("mw1") is None


def test_torn_last_line(tmp_path):
    """What a crash cut in the middle of a line is left out; the step was not begun."""
    ledger = Ledger(tmp_path)
    with ledger.open("mw1", {"name": "shop"}) as held:
        held.write("create")
    with held.path.open("ab") as file:
        file.write(b'{"time": 1, "st')

    (entry,) = ledger.entries()
    assert [step for _, step in entry.steps] == ["create"]
    (tmp_path / "mw2.jsonl").write_bytes(b'{"id": "mw2"')
    assert [entry.id for entry in ledger.entries()] == ["mw1"]


def test_no_ledger_no_change(tmp_path):
    """Where nothing can be written down, nothing may be begun."""
    (tmp_path / "file").write_text("")

    with pytest.raises(FileError, match="cannot write"):
        Ledger(tmp_path / "file").open("mw1", {})


def test_kept_addresses(tmp_path):
    """Addresses that stay fixed are known again, of the newest containers."""
    ledger = Ledger(tmp_path)
    assert ledger.kept("c1") == {}
    for number in range(3):
        ledger.keep(f"c{number}", {"shops": f"10.0.0.{number}"})
    assert ledger.kept("c1") == {"shops": "10.0.0.1"}
    assert MAX_KEPT >= 3
