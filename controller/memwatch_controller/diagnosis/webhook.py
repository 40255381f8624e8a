"""A look at the admission webhook as the API server sees it: called over TLS, by its own CA."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client

#: A webhook that answers later than this has timed out for the API server too.
SECONDS = 5.0


class WebhookError(Exception):
    """The webhook cannot be called; the sentence says why."""


@dataclass(frozen=True)
class Place:
    """Where the API server calls: host and port to connect to, and the name to be proven."""

    host: str
    port: int
    name: str
    authority: bytes


async def place_of(client: Client, config: Mapping[str, Any]) -> Place:
    """Where a MutatingWebhookConfiguration's first webhook is.

    Raises:
        WebhookError: it names none.
        ClusterError: its Service cannot be read.
    """
    called = ((config.get("webhooks") or [{}])[0].get("clientConfig")) or {}
    try:
        authority = base64.b64decode(str(called.get("caBundle") or ""))
    except ValueError as error:
        raise WebhookError("its caBundle is no base64") from error
    if url := called.get("url"):
        parts = urlsplit(str(url))
        if not parts.hostname:
            raise WebhookError("its url has no host")
        return Place(parts.hostname, parts.port or 443, parts.hostname, authority)
    service = called.get("service") or {}
    name, namespace = str(service.get("name") or ""), str(service.get("namespace") or "")
    if not name:
        raise WebhookError("it names neither a service nor a url")
    found = await client.get(resources.SERVICES, name, namespace)
    address = str((found.get("spec") or {}).get("clusterIP") or "")
    if address in ("", "None"):
        raise WebhookError(f"its service '{name}' has no address")
    return Place(address, int(service.get("port") or 443), f"{name}.{namespace}.svc", authority)


async def expiry_at(place: Place) -> datetime:
    """Calls the webhook's /healthz; when the certificate that it shows ends.

    Raises:
        WebhookError: it does not answer, or its certificate is not of its caBundle.
    """
    try:
        context = ssl.create_default_context(
            cadata=place.authority.decode() if place.authority else None
        )
        async with asyncio.timeout(SECONDS):
            return await _called(place, context)
    except TimeoutError as error:
        raise WebhookError(f"it does not answer within {SECONDS:.0f} s") from error
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise WebhookError(
            f"its certificate is not of its caBundle, or not for '{place.name}' ({reason})"
        ) from error
    except OSError as error:
        raise WebhookError(f"it cannot be reached ({error.strerror or error})") from error


async def _called(place: Place, context: ssl.SSLContext) -> datetime:
    reader, writer = await asyncio.open_connection(
        place.host, place.port, ssl=context, server_hostname=place.name
    )
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(
            f"GET /healthz HTTP/1.1\r\nhost: {place.name}\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        status = (await reader.readline()).split()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if len(status) < 2 or status[1] != b"200":
        raise WebhookError("it answers /healthz with no 200")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.astimezone(UTC)
