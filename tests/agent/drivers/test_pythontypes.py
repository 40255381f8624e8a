"""`drivers/pythontypes.py`, `dumptypes.py`: a walk counts every object, a broken one none."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers import dumptypes
from memwatch_agent.drivers.base import Process, Runtime
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions
from memwatch_agent.drivers.pythontypes import record_types
from tests.agent.drivers.apps import Collected
from tests.hook.client import wait_for_sockets
from tests.hook.walkers import environment
from tests.support import processes

APP = """
import time
class Row:
    def __init__(self, number):
        self.name = "row %d" % number
ROWS = [Row(number) for number in range(1234)]
time.sleep(60)
"""


@pytest.mark.parametrize("walker", ["c", "py"])
async def test_types_of_a_real_process(walker):
    """By the walk where there is one, which finds strings too; else by the hook."""
    try:
        env = environment(walker)
    except LookupError as cause:
        pytest.skip(f"no C walker: {cause}")
    with tempfile.TemporaryDirectory(prefix="mwh") as folder:
        env = {"MEMWATCH_HOOK_DIR": folder, **env}
        log = Path(folder) / "log"
        with processes.running([sys.executable, "-c", APP], env=env, log=log) as app:
            [socket] = wait_for_sockets(Path(folder), pid=app.pid)
            found = procfs.stat(f"/proc/{app.pid}")
            assert found is not None
            target = Process(app.pid, found.start_ticks, Runtime.PYTHON, hook_socket=socket)
            sink, stop = Collected(), asyncio.Event()
            options = ProfileOptions(duration_seconds=0.1)
            facts = await record_types(
                target, ProfileKind.TYPES, options, sink.take, lambda: None, stop
            )
    document = json.loads(sink.data)
    assert facts.size_bytes == len(sink.data)
    assert facts.pause_millis > 0
    assert len(document["looks"]) == 2
    for look in document["looks"]:
        rows = {name: (number, size) for name, number, size in look["rows"]}
        assert rows["__main__.Row"][0] == 1234
        assert rows["__main__.Row"][1] >= 1234 * 40
        assert look["count"] == sum(number for number, _ in rows.values())
        if walker == "c":
            assert document["method"] == "walker"
            assert rows["str"][0] >= 1234


def block(kind, payload):
    return kind + len(payload).to_bytes(4, "little") + payload


HEAD, TAIL = b"MWHEAP\r\n\x01", bytes(8)
STRINGS = block(b"S", b"\x00\x03Row\x03abc")
#: A class of type object and size 48, three nodes of it: the first with its description.
NODES = block(b"N", b"\x00\x03\x04\x01\x30\x02" + b"\x00\x02" * 2)


def counted(tmp_path, data):
    path = tmp_path / "dump"
    path.write_bytes(data)
    file = os.open(path, os.O_RDONLY)
    try:
        return dumptypes.count(file)
    finally:
        os.close(file)


def test_blocks_of_any_order_are_counted(tmp_path):
    """Streams may come in pieces, and blocks of unknown kinds between them."""
    data = HEAD + NODES + block(b"?", b"new") + STRINGS + TAIL
    assert counted(tmp_path, data) == [("Row", 3, 144)]
    payload = NODES[5:]
    halves = block(b"N", payload[:4]) + STRINGS + block(b"N", payload[4:])
    assert counted(tmp_path, HEAD + halves + TAIL) == [("Row", 3, 144)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NOHEAP\r\n\x01" + NODES + STRINGS + TAIL,
        HEAD + NODES[:-1] + TAIL,
        HEAD + NODES + TAIL,
        HEAD + block(b"N", b"\x05") + STRINGS + TAIL,
        HEAD + block(b"N", b"\xff" * 20) + STRINGS + TAIL,
        HEAD + b"N\xff\xff\xff\xff" + TAIL,
        HEAD + NODES + block(b"S", b"\x00\x7fRow") + TAIL,
    ],
)
def test_a_broken_dump_is_refused(tmp_path, data):
    """Cut short, of another version, with classes and strings that are not there."""
    with pytest.raises(dumptypes.DumpError):
        counted(tmp_path, data)
