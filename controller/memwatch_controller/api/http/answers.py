"""What routes answer, for OpenAPI and for callers."""

from collections.abc import Sequence
from typing import Any

import grpc
from fastapi.responses import JSONResponse, Response
from google.protobuf.message import Message

from memwatch_controller.api import schemas
from memwatch_controller.api.http import problems
from memwatch_proto.status import Failure, Reason
from memwatch_proto.v1 import reports_pb2

#: Every route may answer with an error.
ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "An error.",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
}


def of(kind: type[Message]) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that answers a message."""
    schema = schemas.ref(kind.DESCRIPTOR)
    described = {
        "description": schemas.description(kind.DESCRIPTOR) or kind.DESCRIPTOR.name,
        "content": {"application/json": {"schema": schema}},
    }
    return {200: described, **ERRORS}


def stream_of(kind: type[Message]) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that answers server-sent events."""
    schema = {**schemas.ref(kind.DESCRIPTOR)}
    described = {
        "description": "Server-sent events: `data` is a message as JSON; then one event `end`, "
        "or one event `error`.",
        "content": {"text/event-stream": {"schema": schema}},
    }
    return {200: described, **ERRORS}


def body_of(kind: type[Message]) -> dict[str, Any]:
    """The request body of a route that takes a message."""
    content = {"application/json": {"schema": schemas.ref(kind.DESCRIPTOR)}}
    return {"requestBody": {"required": True, "content": content}}


def failure(failed: Failure) -> JSONResponse:
    """A failure as a response."""
    return problems.response(failed)


def out_of_range(snapshot_id: str, wanted: str, size: int) -> Failure:
    """The failure of a range that is not there."""
    return Failure(
        grpc.StatusCode.OUT_OF_RANGE,
        Reason.OFFSET_OUT_OF_RANGE,
        f"cannot read snapshot '{snapshot_id}' at range {wanted[:60]!r}: it has {size} bytes; "
        "ask for a range within them",
        {"size_bytes": str(size)},
    )


def list_of(kind: type[Message]) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that answers all there is of something, which is few."""
    name = f"{kind.DESCRIPTOR.name.lower()}s"
    items = {"type": "array", "items": schemas.ref(kind.DESCRIPTOR)}
    schema = {"type": "object", "properties": {name: items}}
    described = {"description": "All.", "content": {"application/json": {"schema": schema}}}
    return {200: described, **ERRORS}


def listed(name: str, items: Sequence[Message]) -> JSONResponse:
    """All there is of something."""
    return JSONResponse({name: [schemas.to_json(item) for item in items]})


DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document of docs/formats/report.md.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    **ERRORS,
}


def document(report: reports_pb2.Report) -> Response:
    """A report's document."""
    return Response(report.json, media_type="application/json")
