"""A forked snapshot of each kind of Node program, under load, on each Node, by hook and by attach.

Told are the pause that the hook measured, the longest gap of the program's own 1 ms timer around
it, the tries, and what is not as promised: planted objects that are not in the snapshot, requests
that failed, a child process of the program's own, children, zombies and descriptors that are not
what they were.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from memwatch_agent.drivers.base import Way
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.node import NodeAttachDriver
from tests.support import fork_addon, runtimes
from tests.support.node_apps import (
    APPS_BY_NAME,
    BENCH_APPS,
    BIG_APPS,
    App,
    Shown,
    shown,
    started,
)

MAJORS = (*runtimes.NODE_MAJORS, runtimes.NEXT_NODE_MAJOR)


def run(app: App, node: Path, way: Way) -> Shown:
    """One program, one snapshot."""
    with tempfile.TemporaryDirectory(prefix="memwatch-apps-") as name:
        folder = Path(name)
        hooks, state = folder / "hooks", folder / "state"
        hooks.mkdir()
        state.mkdir()
        if app.confined:
            folder.chmod(0o755)
            os.chown(hooks, 1000, 1000)
        driver = HookDriver() if way is Way.HOOK else NodeAttachDriver(state)
        return asyncio.run(_run(app, node, driver, hooks))


async def _run(app: App, node: Path, driver: HookDriver | NodeAttachDriver, hooks: Path) -> Shown:
    hooked = isinstance(driver, HookDriver)
    async with started(app, node, hooks, hooked=hooked) as running:
        return await shown(running, driver, hooks.parent)


def plan(names: list[str], majors: list[int]) -> Iterator[tuple[str, App, int, Path]]:
    """What runs, in order."""
    for name in names:
        app = {**APPS_BY_NAME, **BENCH_APPS, **BIG_APPS}[name]
        if app.env.get("DRIVER") == "better-sqlite3" and not runtimes.better_sqlite3().exists():
            print(f"| {name} | – | – | – | – | – | – | not built |")
            continue
        if app.confined and os.geteuid() != 0:
            print(f"| {name} | – | – | – | – | – | – | takes root |")
            continue
        for major in majors:
            node = runtimes.node(major)
            if node is not None and major in app.majors:
                yield name, app, major, node


HEAD = (
    "| program | Node | way | tries | pause ms | longest gap ms, idle → around it | requests "
    "| not as promised |\n" + "|---" * 8 + "|"
)


def row(name: str, major: int, way: Way, told: Shown) -> str:
    """A row of the table."""
    pause = f"{told.facts.pause_millis:.1f}" if told.facts else "–"
    wrong = "; ".join([*told.wrong, *(told.failures if told.facts else ())])
    return (
        f"| {name} | {major} | {way} | {told.tries} | {pause} "
        f"| {told.gap_before:.0f} → {told.gap:.0f} | {told.requests} | {wrong or '–'} |"
    )


def main() -> int:
    options = argparse.ArgumentParser(prog="bench node_apps", description=__doc__)
    options.add_argument("--majors", default=",".join(map(str, MAJORS)))
    options.add_argument("--ways", default="hook,attach")
    options.add_argument(
        "--apps",
        default="",
        help=f"names, separated by ';'; all by default but {', '.join([*BENCH_APPS, *BIG_APPS])}; "
        "'bench' stands for those with packages that only this installs",
    )
    chosen = options.parse_args()
    if isinstance(addon := fork_addon.built(), str):
        print(addon, file=sys.stderr)
        return 2
    print(HEAD, flush=True)
    names = [name for name in chosen.apps.split(";") if name] or list(APPS_BY_NAME)
    if "bench" in names:
        at = names.index("bench")
        names[at : at + 1] = BENCH_APPS
    if set(names) & set(BENCH_APPS):
        runtimes.install_bench_apps()
    wrong = 0
    for name, app, major, node in plan(names, [int(word) for word in chosen.majors.split(",")]):
        for way in map(Way, chosen.ways.split(",")):
            told = run(app, node, way)
            wrong += bool(told.wrong)
            print(row(name, major, way, told), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
