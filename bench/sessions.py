"""1,000 sessions with overlapping timers on one controller: how late, how many lost or twice.

A real controller process (SQLite, a directory; comparisons answered at once) and fake agents that
hand out a small snapshot. Every session has its own target; timeframes are spread at random so
that timers overlap. Goal: p99 lateness ≤ 5 s, none lost, none taken twice.
"""

import argparse
import asyncio
import collections
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from bench.controllers import TOKEN, Meter, controller, percentile
from memwatch_proto.auth import bearer
from memwatch_proto.v1 import sessions_pb2, sessions_pb2_grpc
from tests.fakes.agent import FakeAgent
from tests.fakes.linked import LinkedAgent, fake_target, linked

GOAL_SECONDS = 5.0
TARGETS_OF_AGENT = 50
STATE = sessions_pb2.SessionState
ENDS = (STATE.SESSION_STATE_SUCCEEDED, STATE.SESSION_STATE_FAILED, STATE.SESSION_STATE_CANCELLED)


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="memwatch-bench-") as name:
        folder = Path(name)
        arguments = ["--max-sessions", str(options.sessions + 1), "--log-level", "warning"]
        with controller("bench.instant_controller", folder, *arguments) as (address, pid):
            return asyncio.run(_measure(options, folder, address, pid))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--shortest", type=float, default=60, help="seconds")
    parser.add_argument("--longest", type=float, default=180, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


async def _measure(options: argparse.Namespace, folder: Path, address: str, pid: int) -> int:
    fakes = []
    async with AsyncExitStack() as stack:
        for number in range(-(-options.sessions // TARGETS_OF_AGENT)):
            targets = [
                fake_target(f"t-{number}-{n}", f"service-{number}-{n}")
                for n in range(TARGETS_OF_AGENT)
            ]
            fake = FakeAgent(raw=b'{"snapshot":{}}' * 1_000)
            agent = LinkedAgent(f"a-{number}", f"unix:{folder}/a{number}.sock", targets, fake)
            await stack.enter_async_context(linked(agent, address, TOKEN))
            await asyncio.wait_for(agent.registered.wait(), 60)
            fakes.append(fake)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        stub = sessions_pb2_grpc.SessionServiceStub(channel)
        meter, began = Meter(pid), time.monotonic()
        ids = await _create(options, stub)
        created = time.monotonic() - began
        ended = await _wait(stub, ids)
        cost = meter.read()
    taken = collections.Counter(request for fake in fakes for request in fake.captures)
    return _report(ended, taken, created, cost)


async def _create(options: argparse.Namespace, stub) -> list[str]:
    spread, at_once = random.Random(options.seed), asyncio.Semaphore(20)

    async def one(number: int) -> str:
        seconds = spread.uniform(options.shortest, options.longest)
        plan = sessions_pb2.SessionPlan(timeframe_millis=int(seconds * 1_000))
        plan.selector.ids.append(f"t-{number // TARGETS_OF_AGENT}-{number % TARGETS_OF_AGENT}")
        request = sessions_pb2.CreateSessionRequest(request_id=f"bench-{number}", plan=plan)
        async with at_once:
            return (await stub.CreateSession(request, metadata=bearer(TOKEN))).id

    return await asyncio.gather(*(one(number) for number in range(options.sessions)))


async def _wait(stub, ids: list[str]) -> list[sessions_pb2.Session]:
    """All sessions, once they are finished; asked for seldom, so as not to be measured."""
    while True:
        open_ones = await stub.ListSessions(
            sessions_pb2.ListSessionsRequest(
                states=[state for state in STATE.values() if state not in (0, *ENDS)], page_size=1
            ),
            metadata=bearer(TOKEN),
        )
        if not open_ones.sessions:
            break
        await asyncio.sleep(2)
    return [
        await stub.GetSession(sessions_pb2.GetSessionRequest(id=id), metadata=bearer(TOKEN))
        for id in ids
    ]


def _report(ended, taken, created: float, cost) -> int:
    succeeded = sum(session.state == ENDS[0] for session in ended)
    late = [
        snapshot.late_millis / 1000
        for session in ended
        for snapshot in session.targets[0].snapshots
        if snapshot.phase == "after"
    ]
    lost, twice = 2 * len(ended) - len(taken), sum(count > 1 for count in taken.values())
    p99 = percentile(late, 0.99) if late else float("inf")
    rows = [
        ("sessions succeeded", f"{succeeded} of {len(ended)}"),
        ("created in", f"{created:.1f} s ({len(ended) / created:.0f}/s)"),
        (
            "lateness p50 / p99 / max",
            f"{percentile(late, 0.5):.2f} / {p99:.2f} / {max(late):.2f} s",
        ),
        ("snapshots lost / taken twice", f"{lost} / {twice}"),
        ("controller CPU", f"{cost.cpu_seconds:.1f} s in {cost.wall_seconds:.0f} s wall"),
        ("controller CPU per session", f"{1000 * cost.cpu_seconds / len(ended):.0f} ms"),
        ("controller RSS", f"{cost.rss_bytes / 2**20:.0f} MiB"),
    ]
    for label, value in rows:
        print(f"{label:30} {value}")
    good = succeeded == len(ended) and not lost and not twice and p99 <= GOAL_SECONDS
    print(f"{'goal: p99 ≤ 5 s, none lost':30} {'met' if good else 'MISSED'}")
    for session in [one for one in ended if one.state != ENDS[0]][:5]:
        print(f"  {session.id}: {session.error.message}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
