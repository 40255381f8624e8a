"""Constructs the webhook out of its parts, and serves it until SIGTERM."""

import structlog

from memwatch_controller import logs
from memwatch_controller.api.http.server import http_server
from memwatch_controller.injection.server import Webhook, create
from memwatch_controller.lifetime import Ending
from memwatch_controller.webhook_settings import WebhookSettings

_log = structlog.get_logger()


async def run(settings: WebhookSettings) -> int:
    """Serves until SIGTERM or SIGINT; the exit code.

    Raises:
        StartError: the address or the certificate cannot be used.
    """
    logs.configure(settings.log_level)
    ending = Ending()
    ending.on_signals()
    webhook = Webhook(settings.injection, settings.excluded, settings.tls_cert)
    app = create(webhook)
    async with http_server(settings.listen, app, settings.tls_cert, settings.tls_key):
        _log.info("serving", address=settings.listen)
        await ending.wait()
        _log.info("stopping")
    return ending.code
