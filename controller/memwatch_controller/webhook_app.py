"""Constructs the webhook out of its parts, and serves it until SIGTERM."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog

from memwatch_controller import logs
from memwatch_controller.api.http.server import http_server
from memwatch_controller.cluster import config
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.gates import Gates
from memwatch_controller.injection.keeper import Keeper
from memwatch_controller.injection.server import Webhook, create
from memwatch_controller.lifetime import Ending, at_work
from memwatch_controller.webhook_settings import WebhookSettings

_log = structlog.get_logger()


async def run(settings: WebhookSettings) -> int:
    """Serves until SIGTERM or SIGINT; the exit code.

    Raises:
        StartError: the address or the certificate cannot be used.
        NoClusterError: the certificate is to be kept in a cluster, and this is none.
    """
    logs.configure(settings.log_level)
    ending = Ending()
    ending.on_signals()
    webhook = Webhook(settings.injection, settings.excluded, settings.tls_cert)
    app = create(webhook)
    async with AsyncExitStack() as stack:
        if not await _has_certificate(stack, settings, ending):
            return ending.code
        if settings.injection.gates:
            gated = await stack.enter_async_context(Client(config.load("", os.environ)))
            for namespace in settings.namespaces or ("",):
                at_work(stack, Gates(gated, _now, namespace).run())
        server = http_server(settings.listen, app, settings.tls_cert, settings.tls_key)
        await stack.enter_async_context(server)
        _log.info("serving", address=settings.listen)
        await ending.wait()
        _log.info("stopping")
    return ending.code


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _has_certificate(
    stack: AsyncExitStack, settings: WebhookSettings, ending: Ending
) -> bool:
    """Waits until there is a certificate, and has it kept; False where the end comes before."""
    if settings.keeping is None:
        return True
    client = await stack.enter_async_context(Client(config.load("", os.environ)))
    files = (settings.tls_cert, settings.tls_key)
    keeper = Keeper(client, settings.keeping, files, lambda: datetime.now(UTC))
    first, end = asyncio.create_task(keeper.first()), asyncio.create_task(ending.wait())
    await asyncio.wait({first, end}, return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        return False
    end.cancel()
    first.result()
    at_work(stack, keeper.run())
    return True
