"""2,000 agents connected to one controller process: its CPU, memory and answers.

Each agent has a connection of its own, registers two targets with a sample and sends heartbeats
at the controller's interval. Measured once all are registered, over --seconds.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import grpc

from bench.controllers import TOKEN, Meter, controller, percentile
from memwatch_proto.auth import bearer
from memwatch_proto.keepalive import CHANNEL_OPTIONS
from memwatch_proto.v1 import (
    agents_pb2,
    common_pb2,
    registry_pb2,
    registry_pb2_grpc,
    targets_pb2,
    targets_pb2_grpc,
)
from tests.fakes.linked import fake_target

#: Agents that connect at the same moment; a fleet that is rolled out comes in waves.
AT_ONCE = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memwatch-bench-") as folder:
        module = "memwatch_controller"
        with controller(module, Path(folder), "--log-level", "warning") as (address, pid):
            return asyncio.run(_measure(options, address, pid))


async def _measure(options: argparse.Namespace, address: str, pid: int) -> int:
    meter, began = Meter(pid), time.monotonic()
    registered, answers = asyncio.Semaphore(0), []
    at_once = asyncio.Semaphore(AT_ONCE)
    tasks = [
        asyncio.create_task(_agent(number, address, at_once, registered, answers))
        for number in range(options.agents)
    ]
    for _ in tasks:
        await registered.acquire()
    joining, joined = meter.read(), time.monotonic() - began
    idle = Meter(pid)
    answers.clear()
    await asyncio.sleep(options.seconds)
    cost, seen = idle.read(), list(answers)
    listing = await _list(address)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    rows = [
        ("agents registered", f"{options.agents} in {joined:.1f} s"),
        (
            "controller CPU to register",
            f"{1000 * joining.cpu_seconds / options.agents:.1f} ms each",
        ),
        ("heartbeats", f"{len(seen) / cost.wall_seconds:.0f}/s"),
        ("controller CPU", f"{cost.cores:.2f} of a core"),
        ("CPU per heartbeat", f"{1e6 * cost.cpu_seconds / max(1, len(seen)):.0f} µs"),
        ("controller RSS", f"{cost.rss_bytes / 2**20:.0f} MiB"),
        ("answer p50 / p99", f"{_ms(seen, 0.5)} / {_ms(seen, 0.99)}"),
        ("ListTargets, first page", f"{1000 * listing:.0f} ms"),
    ]
    for label, value in rows:
        print(f"{label:30} {value}")
    return 0


def _ms(seconds: list[float], share: float) -> str:
    return f"{1000 * percentile(seconds, share):.1f} ms" if seconds else "-"


async def _agent(
    number: int,
    address: str,
    at_once: asyncio.Semaphore,
    registered: asyncio.Semaphore,
    answers: list[float],
) -> None:
    """One agent: registers, then a heartbeat at each interval."""
    options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        async with at_once:
            call = registry_pb2_grpc.RegistryServiceStub(channel).Connect(metadata=bearer(TOKEN))
            agent = agents_pb2.Agent(id=f"a-{number}", host=f"node-{number}", address="here:1")
            register = registry_pb2.Register(agent=agent, targets=_targets(number))
            await call.write(registry_pb2.ConnectRequest(register=register))
            interval = (await call.read()).registered.heartbeat_interval_millis / 1000
        registered.release()
        await asyncio.sleep(interval * (number % 100) / 100)
        while True:
            began = time.monotonic()
            heartbeat = registry_pb2.Heartbeat(targets=_targets(number))
            await call.write(registry_pb2.ConnectRequest(heartbeat=heartbeat))
            if await call.read() is grpc.aio.EOF:
                return
            answers.append(time.monotonic() - began)
            await asyncio.sleep(interval)


def _targets(number: int) -> list[targets_pb2.Target]:
    return [
        fake_target(
            f"t-{number}-{n}",
            f"service-{number % 50}",
            pod=f"web-{number}",
            namespace="prod",
            container_id=f"{number:064x}",
            labels={"app": "web", "pod-template-hash": f"{number:x}"},
            memory=common_pb2.MemorySample(rss_bytes=time.time_ns() % 2**30),
        )
        for n in range(2)
    ]


async def _list(address: str) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = targets_pb2_grpc.TargetServiceStub(channel)
        began = time.monotonic()
        await stub.ListTargets(targets_pb2.ListTargetsRequest(), metadata=bearer(TOKEN))
        return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
