"""Profiles of real Node processes through the hook: V8's own, and figures."""

import asyncio
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from memwatch_agent.drivers.errors import KindUnsupportedError, RecordingFailedError
from memwatch_agent.drivers.hookprofiles import record_by_hook
from memwatch_agent.drivers.node import NodeAttachDriver
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions
from memwatch_agent.nodeprofiles import NodeProfiler
from tests.agent.drivers.apps import COMMONJS, MAJORS, Collected, node_app
from tests.agent.fakes import Bench, target
from tests.hook_node.test_hook_node import captured, hooked, target_of

GROWING = """
const orders = [];
class Order { constructor() { this.note = 'note ' + orders.length; this.items = [1, 2, 3]; } }
function takeOrder() { orders.push(new Order()); }
setInterval(() => { for (let i = 0; i < 50; i += 1) takeOrder(); }, 5);
"""


@contextmanager
def growing(folder, major=24):
    """A process that takes orders and keeps them."""
    with node_app(folder, COMMONJS + GROWING, major=major, count=10, env=hooked(folder)) as app:
        yield target_of(app, folder)


async def recorded(target, kind, seconds=0.4, stop=None, **more):
    """What is recorded, and the facts."""
    sink, began = Collected(), asyncio.Event()
    options = ProfileOptions(duration_seconds=seconds, **more)
    stop = stop or asyncio.Event()
    facts = await record_by_hook(target, kind, options, sink.take, began.set, stop)
    assert began.is_set()
    assert facts.size_bytes == len(sink.data)
    return json.loads(sink.data), facts


def depth(node):
    """How deep a tree of samples is."""
    return 1 + max(map(depth, node["children"]), default=0)


@pytest.mark.parametrize("major", MAJORS)
async def test_each_kind_records_on_each_node(tmp_path, major):
    """Samples name the function that allocated, survivors know their stack, figures move."""
    with growing(tmp_path, major) as target:
        before = (await captured(target))[1]
        stats, _ = await recorded(target, ProfileKind.STATS)
        assert (await captured(target))[1].id_epoch == before.id_epoch
        sampled, facts = await recorded(
            target, ProfileKind.SAMPLING, sampling_interval_bytes=512, frames=3
        )
        after = (await captured(target))[1]

    first, last = stats["looks"][0], stats["looks"][-1]
    assert last["heap"]["used_heap_bytes"] > 0 and first["spaces"]
    assert last["event_loop"]["utilization"] > 0 and last["time_millis"] > first["time_millis"]
    # V8 does not name functions that it has inlined: the place is the caller's.
    assert str(tmp_path) in json.dumps(sampled["head"])
    assert sampled["samplingInterval"] == 512
    assert depth(sampled["head"]) == 4  # the root is none
    assert facts.extension == "heapprofile"
    assert after.id_epoch != before.id_epoch  # V8 has numbered its objects anew


async def test_a_timeline_ends_with_a_snapshot_that_knows_stacks(tmp_path):
    """What was allocated meanwhile has a trace; its end before the time keeps what there is."""
    with growing(tmp_path) as target:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.4, stop.set)
        found, facts = await recorded(target, ProfileKind.NODE_ALLOCATIONS, 600, stop)

    assert found["trace_tree"]
    assert "takeOrder" in found["strings"]
    assert facts.pause_millis > 0


async def test_what_cannot_be_recorded_is_refused_in_words(tmp_path):
    """A kind of another runtime, and a profile above its limit; the hook records on afterwards."""
    with growing(tmp_path) as target:
        with pytest.raises(KindUnsupportedError, match="it records sampling"):
            await recorded(target, ProfileKind.NATIVE)
        with pytest.raises(RecordingFailedError, match="sample less often"):
            await recorded(
                target, ProfileKind.SAMPLING, sampling_interval_bytes=64, max_size_bytes=1000
            )
        await recorded(target, ProfileKind.STATS, 0.1)


async def test_an_unprepared_process_records_too(tmp_path):
    """Every kind, by a hook that is put into it for the time; its inspector is shut meanwhile."""
    with node_app(tmp_path, COMMONJS + GROWING, count=10) as app:
        bench = Bench(tmp_path, target("t-1", pid=app.pid))
        attach = NodeAttachDriver(tmp_path)
        record = NodeProfiler(Path("/proc"), attach, bench.roster, bench.history)
        kept = {}
        for kind in (ProfileKind.SAMPLING, ProfileKind.NODE_ALLOCATIONS, ProfileKind.STATS):
            sink, stop = Collected(), asyncio.Event()
            options = ProfileOptions(0.3, sampling_interval_bytes=512, frames=128)
            facts = await record(app.process, kind, options, sink.take, lambda: None, stop)
            assert facts.size_bytes == len(sink.data)
            kept[kind] = json.loads(sink.data), facts.notes
        await attach.aclose()

    sampled, timeline, stats = (found for found, _ in kept.values())
    assert str(tmp_path) in json.dumps(sampled["head"])
    assert "takeOrder" in timeline["strings"]
    assert stats["looks"]
    assert "predicted for the snapshot at the end" in kept[ProfileKind.NODE_ALLOCATIONS][1][0]
