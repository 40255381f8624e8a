"""From a file into the store: what the header says of it."""

import gzip
import os

import pytest
import zstandard

from memwatch_proto.v1 import common_pb2
from memwatchctl import uploads
from memwatchctl.uploads import Grouping

NAME = "session_4f5e1a_1700000000123_before_2023-11-14T22-13-20-123Z.heapsnapshot"


@pytest.mark.parametrize(
    ("start", "encoding"),
    [(b'{"sn', ""), (b"\x1f\x8b\x08\x00", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"", "")],
)
def test_encoding(start, encoding):
    """The first bytes say how the file is compressed, whatever its name."""
    assert uploads.make_header("a", start, 1, "0", Grouping()).content_encoding == encoding


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_the_ancestors_name(suffix):
    """Phase, container and time are read from a name of ours or the ancestor's."""
    header = uploads.make_header(NAME + suffix, b"{", 1, "0", Grouping(service="shop"))
    assert (header.phase, header.container_id, header.service) == ("before", "4f5e1a", "shop")
    assert header.capture_time.ToMilliseconds() == 1700000000123


def test_flags_beat_the_name():
    """What was said outright wins over what the name says."""
    header = uploads.make_header(NAME, b"{", 1, "0", Grouping(phase="after", container_id="x"))
    assert (header.phase, header.container_id) == ("after", "x")


@pytest.mark.parametrize("name", ["a", "session_.heapsnapshot", "session_a_b_c_d.heapsnapshot"])
def test_other_names(name):
    """Any other name says nothing."""
    header = uploads.make_header(name, b"{", 1, "0", Grouping(runtime=common_pb2.RUNTIME_NODE))
    assert (header.phase, header.container_id, header.HasField("capture_time")) == ("", "", False)
    assert header.runtime == common_pb2.RUNTIME_NODE


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_upload_command(cli, fake, pack):
    """A file of several chunks arrives whole; the command prints the snapshot's id."""
    raw = os.urandom(700_000)
    (cli.home / NAME).write_bytes(pack(raw))
    done = cli("snapshots", "upload", NAME, "--session", "s-9", "--service", "shop")

    assert done.returncode == 0, done.stderr
    (stored,) = fake.snapshots.values()
    assert done.stdout == f"{stored.id}\n"
    assert (stored.session_id, stored.phase, stored.service) == ("s-9", "before", "shop")


def test_upload_of_nothing(cli):
    """A file that does not exist is a usage error."""
    assert cli("snapshots", "upload", "nosuch").returncode == 2
