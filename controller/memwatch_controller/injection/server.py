"""The webhook's HTTP application: reviews in, answers out; nothing is kept, nothing is called."""

import json
from collections import Counter as Tally
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from memwatch_controller.injection import reviews
from memwatch_controller.injection.parts import Settings
from memwatch_proto import __version__

#: The API server sends less than 3 MiB; a pod is a few KiB.
MAX_BODY_BYTES = 3 * 1024 * 1024

_log = structlog.get_logger()


class Webhook(Collector):
    """Answers reviews, and counts what came of them."""

    def __init__(
        self, settings: Settings, excluded: Collection[str], certificate: Path | None
    ) -> None:
        self._settings = settings
        self._excluded = excluded
        self._certificate = certificate
        self._answers: Tally[str] = Tally()

    def answer(self, body: bytes) -> dict[str, Any]:
        """The answer to a body.

        Raises:
            ReviewError: there is nothing to answer.
        """
        try:
            review = json.loads(body)
        except (ValueError, RecursionError) as error:
            self._answers["invalid"] += 1
            raise reviews.ReviewError("cannot answer: the body is no JSON") from error
        try:
            answered = reviews.answer(review, self._settings, self._excluded)
        except reviews.ReviewError:
            self._answers["invalid"] += 1
            raise
        self._tell(review["request"], answered["response"])
        return answered

    def _tell(self, request: dict[str, Any], response: dict[str, Any]) -> None:
        """Counts an answer, and logs what a person may look for."""
        warnings = response.get("warnings", [])
        outcome = "injected" if "patch" in response else "refused" if warnings else "skipped"
        self._answers[outcome] += 1
        if outcome != "skipped":
            where = {"namespace": str(request.get("namespace"))[:253]}
            _log.info("pod reviewed", outcome=outcome, warnings=warnings, **where)

    def collect(self) -> Any:
        """The webhook's metrics."""
        counted = CounterMetricFamily(
            "memwatch_webhook_reviews",
            "Pods that were reviewed, by what came of it.",
            labels=["outcome"],
        )
        for outcome in ("injected", "skipped", "refused", "invalid"):
            counted.add_metric([outcome], self._answers[outcome])
        yield counted
        if (expiry := expiry_of(self._certificate)) is not None:
            yield GaugeMetricFamily(
                "memwatch_webhook_certificate_expiry_timestamp_seconds",
                "When the webhook's certificate ends; after that no pod gets an agent.",
                value=expiry.timestamp(),
            )


def expiry_of(certificate: Path | None) -> datetime | None:
    """When a PEM certificate ends; None where there is none that can be read."""
    try:
        data = certificate.read_bytes() if certificate else b""
        return x509.load_pem_x509_certificate(data).not_valid_after_utc if data else None
    except (OSError, ValueError):
        return None


def create(webhook: Webhook) -> FastAPI:
    """The application: POST /mutate, GET /healthz, GET /metrics."""
    app = FastAPI(title="memwatch webhook", version=__version__, docs_url=None, openapi_url=None)
    registry = CollectorRegistry()
    registry.register(webhook)

    @app.post("/mutate")
    async def mutate(request: Request) -> JSONResponse:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                return _refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        try:
            return JSONResponse(webhook.answer(bytes(body)))
        except reviews.ReviewError as error:
            return _refused(400, str(error))

    @app.get("/healthz")
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry))

    return app


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
