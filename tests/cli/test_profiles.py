"""`memwatchctl profiles`: what it asks for, what it prints, and how it ends."""

# ruff: noqa: N802 - the methods are named by the protos

import contextlib
import json
from concurrent import futures

import grpc
import pytest

from memwatch_proto.status import Failure, Reason, to_status
from memwatch_proto.v1 import common_pb2, profiles_pb2, profiles_pb2_grpc
from tests.cli.conftest import Inside

P = profiles_pb2
DOCUMENT = {
    "format": 1,
    "kind": "types",
    "report": "table",
    "columns": [
        ["name", "type", "text"],
        ["count", "objects", "count"],
        ["size_bytes", "size", "bytes"],
        ["size_delta_bytes", "size Δ", "bytes"],
    ],
    "rows": [
        {"name": "shop.\x1b[2JRow", "count": 4000, "size_bytes": 2048, "size_delta_bytes": 1024}
    ],
    "row_count": 3,
    "totals": {},
    "notes": ["counted: everything"],
}


class Fake(profiles_pb2_grpc.ProfileServiceServicer):
    """A controller's profiles, scripted."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.ends = P.PROFILE_STATE_SUCCEEDED
        self.refusal: Failure | None = None

    def StartProfile(self, request, context):
        self.asked.append(request)
        if self.refusal is not None:
            context.abort_with_status(to_status(self.refusal))
        return P.Profile(id="p-1", kind=request.kind, state=P.PROFILE_STATE_RECORDING)

    def GetProfile(self, request, context):
        found = P.Profile(
            id=request.id,
            kind=common_pb2.PROFILE_KIND_TYPES,
            state=self.ends,
            service="shop",
            notes=["method: gc"],
            raw_size_bytes=1024,
        )
        found.reports.add(name="table", formats=["json"])
        if self.ends == P.PROFILE_STATE_FAILED:
            found.error.reason = Reason.PROFILER_MISSING
            found.error.message = "cannot record process 7: the app has no memray"
        return found

    def StopProfile(self, request, context):
        self.asked.append(request)
        return self.GetProfile(request, context)

    def ListProfiles(self, request, context):
        self.asked.append(request)
        found = self.GetProfile(P.GetProfileRequest(id="p-1"), context)
        return P.ListProfilesResponse(profiles=[found])

    def DeleteProfile(self, request, context):
        self.asked.append(request)
        return P.DeleteProfileResponse()

    def GetProfileReport(self, request, context):
        self.asked.append(request)
        form = "html" if request.report == "flamegraph" else "json"
        data = b"<html>" if form == "html" else json.dumps(DOCUMENT).encode()
        header = P.ProfileReportHeader(
            report=request.report or "table", format=form, size_bytes=len(data)
        )
        yield P.GetProfileReportResponse(header=header)
        yield P.GetProfileReportResponse(data=data[:3])
        yield P.GetProfileReportResponse(data=data[3:])

    def CleanupProfiles(self, request, context):
        self.asked.append(request)
        return P.CleanupProfilesResponse(profile_ids=["p-1"], freed_bytes=2048)


@pytest.fixture
def fake_profiles():
    return Fake()


@pytest.fixture
def cli(fake_profiles, tmp_path):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    profiles_pb2_grpc.add_ProfileServiceServicer_to_server(fake_profiles, server)
    server.add_insecure_port(f"unix:{tmp_path}/c.sock")
    server.start()
    yield Inside(tmp_path, f"unix:{tmp_path}/c.sock")
    server.stop(None)


def test_start_asks_for_what_is_said_and_waits(cli, fake_profiles):
    """Every flag is in the request; the profile is shown when it has ended."""
    words = "profiles start shop --kind native -t 90 --frames 5 --max-size 7 --native-traces"
    done = cli(*words.split(), "--python-allocator", "--aggregate", "--gc", "--force")
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    assert "table (json)" in done.stdout
    assert "note: method: gc" in done.stdout
    [request] = fake_profiles.asked
    assert request.kind == common_pb2.PROFILE_KIND_NATIVE
    assert request.selector.name == "shop"
    assert request.force
    assert request.options == P.ProfileOptions(
        duration_millis=90_000,
        max_size_bytes=7 * 1024 * 1024,
        frames=5,
        native_traces=True,
        python_allocator=True,
        aggregate=True,
        sampling_interval_bytes=32_768,
        collect_garbage=True,
    )


def test_start_and_leave(cli):
    """Only the id is printed."""
    done = cli("profiles", "start", "shop", "--kind", "types", "--detach")
    assert (done.returncode, done.stdout) == (0, "p-1\n")


def test_a_failed_profile_is_a_failure(cli, fake_profiles):
    """The agent's sentence, and the exit code of its reason."""
    fake_profiles.ends = P.PROFILE_STATE_FAILED
    done = cli("profiles", "start", "shop", "--kind", "native")
    assert done.returncode == 4
    assert "cannot finish profile 'p-1': cannot record process 7: the app has no" in done.stderr


def test_a_kind_that_is_refused(cli, fake_profiles):
    """The controller's own sentence, not that it is too old."""
    fake_profiles.refusal = Failure(
        grpc.StatusCode.UNIMPLEMENTED, Reason.PROFILE_KIND_UNSUPPORTED, "cannot record 'stats'"
    )
    done = cli("profiles", "start", "shop", "--kind", "stats")
    assert (done.returncode, done.stderr.strip()) == (4, "cannot record 'stats'")


def test_list_get_stop_delete_cleanup(cli, fake_profiles):
    """Tables for people, documents for programs."""
    listed = cli("profiles", "list", "--state", "succeeded", "--kind", "types")
    assert "p-1" in listed.stdout
    assert fake_profiles.asked[-1].kind == common_pb2.PROFILE_KIND_TYPES
    assert list(fake_profiles.asked[-1].states) == [P.PROFILE_STATE_SUCCEEDED]
    assert json.loads(cli("profiles", "get", "p-1", "-o", "json").stdout)["service"] == "shop"
    assert "succeeded" in cli("profiles", "stop", "p-1").stdout
    assert cli("profiles", "delete", "p-1").stdout == "profile p-1 is deleted\n"
    cleaned = cli("profiles", "cleanup", "--older-than", "7", "--dry-run")
    assert "would delete 1 profiles, 2.0 KiB" in cleaned.stdout
    assert fake_profiles.asked[-1].older_than_millis == 7 * 86_400_000
    assert json.loads(cli("profiles", "cleanup", "-o", "json").stdout)["profile_ids"] == ["p-1"]


def test_a_report_is_a_table_by_its_own_columns(cli, fake_profiles):
    """Figures are set for people, names cannot move the cursor, what is left out is said."""
    done = cli("profiles", "report", "p-1", "--base", "p-0", "--limit", "1")
    assert done.returncode == 0, done.stderr
    head, row, left, note = done.stdout.splitlines()
    assert head.split() == ["TYPE", "OBJECTS", "SIZE", "SIZE", "Δ"]
    assert "\x1b" not in row
    assert row.split()[-6:] == ["4,000", "2.0", "KiB", "+1.0", "KiB"][-6:] or "4,000" in row
    assert (left, note) == ("… and 2 rows more (--limit)", "note: counted: everything")
    assert fake_profiles.asked[-1].base_id == "p-0"
    assert json.loads(cli("profiles", "report", "p-1", "-o", "json").stdout) == DOCUMENT


def test_a_page_needs_a_file(cli, tmp_path):
    """HTML is never printed; a file that is there is not overwritten."""
    page = tmp_path / "flame.html"
    assert cli("profiles", "report", "p-1", "flamegraph").returncode == 2
    done = cli("profiles", "report", "p-1", "flamegraph", "--output", page)
    assert (done.returncode, page.read_bytes()) == (0, b"<html>")
    assert "wrote flamegraph" in done.stderr
    again = cli("profiles", "report", "p-1", "flamegraph", "--output", page)
    assert again.returncode == 2
    with contextlib.suppress(FileNotFoundError):
        page.unlink()
    assert list(tmp_path.glob(".*.part")) == []
