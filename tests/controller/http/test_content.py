import base64
import gzip
import hashlib
import os

import pytest
import zstandard

RAW = b'{"snapshot":"' + os.urandom(300_000).hex().encode() + b'"}'
NAME = "session_0123456789ab_1700000000123_before_2023-11-14T22-13-20-123Z.heapsnapshot"
BINARY = {"Content-Type": "application/octet-stream"}


def digest_header(data: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {"Content-Digest": f"sha-256=:{digest}:"}


async def upload(http, data=RAW, headers=None, **query):
    fields = {"file_name": "a.heapsnapshot", "phase": "before", "container_id": "0123456789abcdef"}
    return await http.post(
        "/api/v1/snapshots",
        params={**fields, **query},
        content=data,
        headers={**BINARY, **(headers or {})},
    )


async def uploaded(http):
    answer = await upload(http, headers=digest_header(RAW))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("", RAW),
        ("identity", RAW),
        ("gzip", gzip.compress(RAW, 1)),
        ("zstd", zstandard.ZstdCompressor(level=1).compress(RAW)),
    ],
)
async def test_what_goes_up_comes_down(http, encoding, data):
    """Plain or compressed, the same .heapsnapshot is downloaded under the ancestor's name."""
    headers = {**digest_header(data), "Content-Encoding": encoding}
    answer = await upload(http, data, headers, service="web", runtime="node", session_id="old-1")
    snapshot = answer.json()
    assert (snapshot["service"], snapshot["runtime"]) == ("web", "RUNTIME_NODE")
    down = await http.get(f"/api/v1/snapshots/{snapshot['id']}/content")
    assert down.content == RAW
    assert down.headers["content-disposition"] == f'attachment; filename="{NAME}"'
    assert down.headers["content-length"] == str(len(RAW))


async def test_the_stored_bytes_are_to_be_had_too(http):
    """`encoding=zstd` answers the blob itself, whose digest is in the metadata."""
    snapshot = await uploaded(http)
    down = await http.get(
        f"/api/v1/snapshots/{snapshot['id']}/content", params={"encoding": "zstd"}
    )
    assert hashlib.sha256(down.content).hexdigest() == snapshot["stored_sha256"]
    assert down.headers["content-disposition"].endswith('.heapsnapshot.zst"')


@pytest.mark.parametrize("encoding", ["raw", "zstd"])
@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=200000-", 200_000, None), ("bytes=-7", -7, None)],
)
async def test_downloads_resume(http, encoding, header, start, end):
    """A range of either form is that part of the whole."""
    path = f"/api/v1/snapshots/{(await uploaded(http))['id']}/content?encoding={encoding}"
    whole = (await http.get(path)).content
    part = await http.get(path, headers={"Range": header})
    assert part.status_code == 206
    assert part.content == whole[start:end]
    first = start % len(whole)
    assert (
        part.headers["content-range"]
        == f"bytes {first}-{first + len(part.content) - 1}/{len(whole)}"
    )


async def test_a_range_behind_the_end_is_416(http):
    """With the size, so that the caller can ask again."""
    path = f"/api/v1/snapshots/{(await uploaded(http))['id']}/content"
    answer = await http.get(path, headers={"Range": f"bytes={len(RAW)}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(RAW)}"
    assert answer.json()["reason"] == "OFFSET_OUT_OF_RANGE"


async def test_conditional_requests(http):
    """An ETag that is known spares the bytes; one that changed ignores the range."""
    path = f"/api/v1/snapshots/{(await uploaded(http))['id']}/content"
    head = await http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(RAW))
    etag = head.headers["etag"]
    assert (await http.get(path, headers={"If-None-Match": etag})).status_code == 304
    resumed = {"Range": "bytes=5-", "If-Range": etag}
    assert (await http.get(path, headers=resumed)).status_code == 206
    changed = {"Range": "bytes=5-", "If-Range": '"other"'}
    assert (await http.get(path, headers=changed)).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"file_name": "../../etc/passwd"}, "file_name"),
        ({"file_name": "a\x00b"}, "file_name"),
        ({"file_name": "a\nb"}, "file_name"),
        ({"file_name": "x" * 600}, "file_name"),
        ({"session_id": "../x"}, "session_id"),
        ({"phase": "a b"}, "phase"),
        ({"service": "a\r\nX: y"}, "service"),
        ({"container_id": "\x1b[31m"}, "container_id"),
        ({"runtime": "java"}, "runtime"),
        ({"request_id": "a/b"}, "request_id"),
        ({"capture_time": "1900-01-01T00:00:00Z"}, "capture_time"),
        ({"capture_time": "yesterday"}, "capture_time"),
    ],
)
async def test_bad_fields_of_an_upload_are_named(http, query, field):
    """Traversal, NUL, newlines and lengths: 400 with the field, nothing stored."""
    answer = await upload(http, **query)
    assert answer.status_code == 400
    assert answer.json()["reason"] == "INVALID_ARGUMENT"
    assert f"'{field}'" in answer.json()["message"]
    assert (await http.get("/api/v1/snapshots")).json()["snapshots"] == []


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        (digest_header(b"other"), 400, "SHA-256"),
        ({"Content-Digest": "sha-256=:short:"}, 400, "Content-Digest"),
        ({"Content-Encoding": "gzip"}, 400, "a sound stream"),
        ({"Content-Encoding": "br"}, 400, "Content-Encoding"),
        ({"Content-Type": "text/plain"}, 400, "Content-Type"),
        ({"Content-Type": "multipart/form-data"}, 400, "Content-Type"),
    ],
)
async def test_lying_uploads_are_refused(http, tmp_path, headers, status, words):
    """A wrong digest, encoding or type: one line, and nothing is kept."""
    answer = await upload(http, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == []


async def test_uploads_are_idempotent_by_request_id(http):
    """The same request twice is one snapshot."""
    first = await upload(http, request_id="up-1")
    second = await upload(http, request_id="up-1")
    assert first.json() == second.json()
    assert len((await http.get("/api/v1/snapshots")).json()["snapshots"]) == 1


async def test_lists_are_paged(http):
    """Pages of two, newest first, until there is no token."""
    ids = [
        (await upload(http, capture_time=f"2026-01-0{day}T00:00:00Z")).json()["id"]
        for day in (1, 2, 3)
    ]
    first = (await http.get("/api/v1/snapshots?page_size=2")).json()
    token = first["next_page_token"]
    second = (await http.get(f"/api/v1/snapshots?page_size=2&page_token={token}")).json()
    found = [s["id"] for s in (*first["snapshots"], *second["snapshots"])]
    assert found == ids[::-1]
    assert second["next_page_token"] == ""


async def test_deleted_snapshots_are_gone(http):
    """Delete twice is no error; metadata and bytes answer 404."""
    path = f"/api/v1/snapshots/{(await uploaded(http))['id']}"
    for _ in range(2):
        assert (await http.delete(path)).status_code == 200
    assert (await http.get(path)).status_code == 404
    assert (await http.get(f"{path}/content")).status_code == 404


async def test_a_round_of_upkeep_says_what_it_did(http):
    """POST snapshots:cleanUp deletes what expired, after a dry run has told it."""
    ids = [(await uploaded(http))["id"]]
    for answers_left in (True, False):
        path = f"/api/v1/snapshots:cleanUp?dry_run={str(answers_left).lower()}"
        answer = await http.post(path)
        assert answer.status_code == 200
        assert "orphans" not in answer.json() or answer.json()["orphans"] == []
        assert (await http.get(f"/api/v1/snapshots/{ids[0]}")).status_code == 200  # one is kept


async def test_a_bomb_is_downloaded_in_bounded_pieces(http, stage):
    """64 MiB out of 6 KiB never lie in memory at once."""
    raw = b"{" + bytes(64 * 1024 * 1024) + b"}"
    answer = await upload(
        http, zstandard.ZstdCompressor(level=1).compress(raw), {"Content-Encoding": "zstd"}
    )
    snapshot = await stage.snapshots.get(answer.json()["id"])
    sizes = [len(piece) async for piece in stage.snapshots.read_raw(snapshot)]
    assert sum(sizes) == len(raw)
    assert max(sizes) <= 1024 * 1024
