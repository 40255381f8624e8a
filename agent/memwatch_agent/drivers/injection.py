"""Puts the Node hook into a process through its inspector, which can then be shut at once.

Three reasons not to take it over the inspector (docs/decisions/0005-node-attach.md): a connection
that ends while a snapshot crosses it can crash Node; V8 forgets all object ids when an inspector
session ends; and what the hook sends costs the target no JSON.

The hook connects to a port of ours and proves itself twice: by a token that only the evaluated
expression knew, and by its socket's inode, which must be the target's. When that connection ends,
whoever ends it, nothing is left in the target.
"""

import asyncio
import base64
import contextlib
import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources
from pathlib import Path

from memwatch_agent.drivers import sockets
from memwatch_agent.drivers.base import Process
from memwatch_agent.drivers.errors import CaptureFailedError
from memwatch_agent.drivers.hook import READ_BYTES, HookLink

#: The evaluated expression connects at once, when the app's loop turns. One that has not turned
#: by the last try is taken to be stuck; it is a quarter of a minute on a starved machine, too.
CONNECT_SECONDS = 5.0
TRIES = 4

#: What hook/node/Makefile builds.
ADDON = "memwatch-fork.node"

_TOKEN_BYTES = 16

_HOST = "127.0.0.1"

_EXPRESSION = """((load) => {
  const module = { exports: {}, injected: true };
  (function (module, require) { %s
  })(module, load);
  module.exports.dial(%d, %s, %s);
})(process.getBuiltinModule ? (name) => process.getBuiltinModule(name)
  : typeof require === 'function' ? require : (name) => process.mainModule.require(name))"""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def inject(target: Process, evaluate: Callable[[str], Awaitable[object]]) -> HookLink:
    """A connection to a hook that was put into the target.

    Args:
        target: the process.
        evaluate: runs an expression in it.

    Raises:
        OSError: we have no port for it to connect to.
        DriverError: the expression fails, or the target does not connect.
    """
    token = secrets.token_hex(_TOKEN_BYTES)
    connected: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            if await _proven(target, reader, writer, token) and not connected.done():
                connected.set_result((reader, writer))
                return
        writer.close()

    server = await asyncio.start_server(accept, _HOST, 0, limit=READ_BYTES)
    try:
        port = server.sockets[0].getsockname()[1]
        lent = await asyncio.to_thread(lent_addon)
        words = json.dumps(token), json.dumps(lent)
        expression = _EXPRESSION % (hook_source(), port, *words)
        reader, writer = await _connected(target, evaluate, expression, connected)
    finally:
        server.close()
    link = HookLink(target, reader, writer, f"attach-{secrets.token_hex(8)}")
    try:
        await link.greet()
    except BaseException:
        link.close()
        raise
    return link


async def _connected(
    target: Process,
    evaluate: Callable[[str], Awaitable[object]],
    expression: str,
    connected: asyncio.Future[Streams],
) -> Streams:
    """The target's connection, asked for again where it does not come; one more is hung up on.

    Raises:
        DriverError: it does not come, or the expression fails.
    """
    for left in range(TRIES - 1, -1, -1):
        try:
            if not connected.done():  # an earlier try may have come late
                await evaluate(expression)
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.shield(connected)
        except TimeoutError as error:
            if not left:
                cause = f"the hook that was put into it did not connect in {TRIES} tries"
                raise CaptureFailedError(target.pid, cause, "it is too busy; try again") from error
        except CaptureFailedError:  # it was not answered in time, or not by a value
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


async def _proven(
    target: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> bool:
    """Whether the peer is a socket of the target's and knows the token."""
    peer, ours = writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1]
    rows = await asyncio.to_thread(sockets.rows, target.pid)
    its = [row for row in rows if (row.port, row.remote_port) == (peer, ours)]
    if not await asyncio.to_thread(sockets.held_by, target.pid, its):
        return False
    async with asyncio.timeout(CONNECT_SECONDS):
        return hmac.compare_digest(await reader.readexactly(len(token)), token.encode())


def lent_addon() -> dict[str, object]:
    """Where the target may find the addon that forks it, and its bytes should it see none of them.

    A target that shares our files sees our path, one that shares our pid namespace sees them
    through ours; another one writes the bytes to a file of its own for the moment of loading.
    """
    path = addon_path()
    if path is None:
        return {"places": [], "base64": ""}
    places = [str(path), f"/proc/{os.getpid()}/root{path}"]
    return {"places": places, "base64": base64.b64encode(path.read_bytes()).decode()}


def addon_path() -> Path | None:
    """The addon: packed beside this module, or where a working copy builds it; None in neither."""
    beside = Path(__file__).with_name(ADDON)
    built = Path(__file__).resolve().parents[3] / "hook" / "node" / ADDON
    return next((path for path in (beside, built) if path.is_file()), None)


@cache
def hook_source() -> str:
    """The hook's file: packed beside this module, or where it lies in a working copy.

    Raises:
        FileNotFoundError: in neither.
    """
    packed = resources.files(__package__) / "memwatch-hook.cjs"
    if packed.is_file():
        return packed.read_text(encoding="utf-8")
    working_copy = Path(__file__).resolve().parents[3] / "hook/node/memwatch-hook.cjs"
    return working_copy.read_text(encoding="utf-8")
