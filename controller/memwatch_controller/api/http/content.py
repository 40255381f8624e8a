"""The bytes of snapshots over HTTP: out with ranges, in as they come."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from memwatch_controller import model
from memwatch_controller.api import convert_snapshots as convert
from memwatch_controller.api import fields, schemas
from memwatch_controller.api.http import answers, ranges
from memwatch_controller.snapshots.service import Snapshots, Upload
from memwatch_controller.store.intake import Encoding
from memwatch_proto.v1 import snapshots_pb2

#: Types that a browser sends to another site without asking it first; never those of an upload.
_BROWSER_TYPES = {"text/plain", "multipart/form-data", "application/x-www-form-urlencoded"}

_ENCODINGS = {"": Encoding.PLAIN, "identity": Encoding.PLAIN, "gzip": Encoding.GZIP}
_ENCODINGS |= {"x-gzip": Encoding.GZIP, "zstd": Encoding.ZSTD}

_BYTES = {"schema": {"type": "string", "format": "binary"}}

_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All bytes.",
        "content": {"application/json": _BYTES, "application/zstd": _BYTES},
    },
    206: {"description": "The bytes of the range."},
    304: {"description": "The caller has these bytes (`If-None-Match`)."},
}


def router(snapshots: Snapshots) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["snapshots"])

    @routes.head("/snapshots/{id}/content", include_in_schema=False)
    @routes.get(
        "/snapshots/{id}/content",
        operation_id="DownloadSnapshot",
        response_class=Response,
        responses={**_DOWNLOAD, **answers.ERRORS},
    )
    async def download(
        request: Request,
        id: Annotated[str, Path(description="The snapshot's id.")],
        encoding: Annotated[
            str,
            Query(
                pattern="^(raw|zstd)$",
                description="`raw`: the `.heapsnapshot` itself; `zstd`: the bytes as stored.",
            ),
        ] = "raw",
        wanted: Annotated[
            str, Header(alias="Range", description="One range of bytes (RFC 9110).")
        ] = "",
        if_range: Annotated[str, Header(description="Ignores `Range` where it differs.")] = "",
    ) -> Response:
        """The bytes of a snapshot, as a file with the ancestor's name.

        Resumes with `Range`. A range of `raw` bytes costs decompressing what lies before it.
        """
        snapshot = await snapshots.get(fields.ident("id", id))
        return _file(request, snapshots, snapshot, encoding, wanted, if_range)

    @routes.post(
        "/snapshots",
        operation_id="UploadSnapshot",
        responses=answers.of(snapshots_pb2.Snapshot),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": _BYTES},
                "description": "The `.heapsnapshot`, plain or compressed as `Content-Encoding` "
                "says (`gzip`, `zstd`).",
            }
        },
    )
    async def upload(
        request: Request,
        file_name: Annotated[str, Query(description="Its name on the caller's side.")] = "",
        session_id: Annotated[str, Query(description="Session to group it under.")] = "",
        phase: Annotated[str, Query(description="Phase in that session.")] = "",
        service: Annotated[str, Query(description="Service it belongs to.")] = "",
        container_id: Annotated[str, Query(description="Container it was taken in.")] = "",
        runtime: Annotated[
            str, Query(pattern="^(|node|python)$", description="`node` or `python`.")
        ] = "",
        capture_time: Annotated[
            datetime | None, Query(description="When it was taken; now where it is not given.")
        ] = None,
        request_id: Annotated[str, Query(description="Makes the upload idempotent.")] = "",
        content_encoding: Annotated[str, Header(description="`gzip`, `zstd` or nothing.")] = "",
        content_length: Annotated[int | None, Header(ge=0)] = None,
        content_digest: Annotated[
            str, Header(description="SHA-256 of the body, as in RFC 9530: `sha-256=:…:`.")
        ] = "",
    ) -> JSONResponse:
        """Stores a snapshot from outside.

        It is kept only where length and digest are as announced, and the body is one whole
        JSON object.
        """
        taken = 0 if capture_time is None else int(capture_time.timestamp() * 1000)
        if not 0 <= taken < model.MAX_TIME:
            raise fields.bad_field("capture_time", "is not between 1970 and 9999")
        _check_type(request)
        wanted = Upload(
            request_id=fields.ident("request_id", request_id or f"http-{uuid4().hex}"),
            encoding=_encoding(content_encoding),
            size_bytes=content_length,
            sha256=_digest(content_digest),
            file_name=fields.file_name("file_name", file_name),
            session_id=fields.optional_ident("session_id", session_id),
            phase=fields.optional_ident("phase", phase),
            service=fields.name("service", service),
            container_id=fields.name("container_id", container_id),
            runtime=model.Runtime(runtime),
            capture_time=taken,
        )
        stored = await snapshots.upload(wanted, request.stream())
        return JSONResponse(schemas.to_json(convert.snapshot_to_pb(stored)))

    return routes


def _file(
    request: Request,
    snapshots: Snapshots,
    snapshot: model.Snapshot,
    encoding: str,
    wanted: str,
    if_range: str,
) -> Response:
    raw = encoding == "raw"
    size = snapshot.raw_size_bytes if raw else snapshot.stored_size_bytes
    digest = snapshot.raw_sha256 if raw else snapshot.stored_sha256
    headers = _headers(snapshot, raw=raw, etag=f'"{digest}"')
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        span = ranges.parse(wanted, size) if not if_range or if_range == headers["ETag"] else None
    except ranges.UnsatisfiableError:
        refused = answers.failure(answers.out_of_range(snapshot.id, wanted, size))
        refused.headers["Content-Range"] = f"bytes */{size}"
        return refused
    start, end = (span.start, span.end) if span else (0, size)
    headers["Content-Length"] = str(end - start)
    if span:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    read = snapshots.read_raw if raw else snapshots.read
    return StreamingResponse(read(snapshot, start, end - start), status, headers=headers)


def _headers(snapshot: model.Snapshot, *, raw: bool, etag: str) -> dict[str, str]:
    name = snapshot.file_name or f"{snapshot.id}.heapsnapshot"
    return {
        "Content-Type": "application/json" if raw else "application/zstd",
        "Content-Disposition": f'attachment; filename="{name}{"" if raw else ".zst"}"',
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if not kind or kind in _BROWSER_TYPES:
        raise fields.bad_field("Content-Type", "must be application/octet-stream")


def _encoding(text: str) -> Encoding:
    found = _ENCODINGS.get(text.strip().lower())
    if found is None:
        raise fields.bad_field("Content-Encoding", f"is {text[:40]!r}, expected gzip or zstd")
    return found


def _digest(header: str) -> str:
    """The SHA-256 of a Content-Digest header, as hex; "" where there is none."""
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "sha-256":
            try:
                digest = base64.b64decode(value.strip(":"), validate=True)
            except binascii.Error:
                digest = b""
            if len(digest) != 32:
                raise fields.bad_field("Content-Digest", "is no sha-256=:base64:")
            return digest.hex()
    return ""
