"""Profiles of a real Python service through the real programs: every kind, over every face."""

import json
import sys
import uuid
from pathlib import Path

import grpc
import httpx
import pytest

from memwatch_proto.status import Reason
from memwatch_proto.v1 import common_pb2, profiles_pb2, profiles_pb2_grpc, targets_pb2
from tests.support.processes import running, wait_until
from tests.support.stack import HOOK_PATH, Stack, unique

pytestmark = pytest.mark.e2e

APP = """
import sys, threading, time
sys.path[:0] = [PATHS]
from memwatch_hook.profiles import sample
ROWS = []
class Row:
    def __init__(self, number):
        self.name = "row %d" % number
def make(number):
    ROWS.append(Row(number))
def work():
    while True:
        for number in range(20):
            make(number)
        time.sleep(0.01)
threading.Thread(target=work, daemon=True).start()
time.sleep(4)
with sample(1.0):
    time.sleep(0.2)
time.sleep(600)
"""
MAKE_LINE = 9


class Profiles:
    """ProfileService of a stack's controller."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def call(self, method: str, request):
        """One call."""
        with self.stack.channel() as (channel, metadata):
            stub = profiles_pb2_grpc.ProfileServiceStub(channel)
            return getattr(stub, method)(request, metadata=metadata, timeout=20)

    def start(self, target_id: str, kind: common_pb2.ProfileKind, millis: int):
        """Starts one."""
        return self.call(
            "StartProfile",
            profiles_pb2.StartProfileRequest(
                request_id=str(uuid.uuid4()),
                selector=targets_pb2.TargetSelector(ids=[target_id]),
                kind=kind,
                options=profiles_pb2.ProfileOptions(duration_millis=millis),
            ),
        )

    def until(self, id: str, *states: int):
        """The profile, once it is in one of the states."""
        found = {}

        def there() -> bool:
            found["now"] = self.call("GetProfile", profiles_pb2.GetProfileRequest(id=id))
            return found["now"].state in states

        wait_until(there, 60, f"profile {id} in {states}")
        return found["now"]


@pytest.fixture
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    http = ("--http-listen", f"unix:{folder}/h.sock")
    made = Stack(folder, controller_arguments=http)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_profiles_of_a_real_service(stack):
    """Each kind is recorded and reported; a killed controller finds what went on without it."""
    memray = pytest.importorskip("memray")
    service, app = unique("profiles"), stack.folder / "app.py"
    app.write_text(APP.replace("PATHS", ", ".join(map(repr, HOOK_PATH.split(":")))))
    env = {
        "MEMWATCH_SERVICE_NAME": service,
        "MEMWATCH_HOOK_DIR": str(stack.hooks),
        "MEMWATCH_PROFILING_ENABLED": "on",
        "PYTHONPATH": HOOK_PATH,
    }
    with running([sys.executable, app], env=env, log=stack.folder / "log") as process:
        target = stack.wait_for_target(service)
        profiles, p = Profiles(stack), profiles_pb2
        sampled = _sampled(profiles, service)
        assert profiles.until(sampled, p.PROFILE_STATE_SUCCEEDED).stored_size_bytes

        long = profiles.start(target, common_pb2.PROFILE_KIND_ALLOCATIONS, 600_000)
        profiles.until(long.id, p.PROFILE_STATE_RECORDING)
        stack.controller.kill()
        stack.start_controller()
        stack.wait_for_target(service)
        stopped = json.loads(stack.ctl("profiles", "stop", long.id, "-o", "json").stdout)
        assert stopped["state"] == "PROFILE_STATE_SUCCEEDED", stopped
        rows = stack.json("profiles", "report", long.id, "lines")["rows"]
        assert f"{app}:{MAKE_LINE + 1}" in [row["location"] for row in rows[:3]]

        types = profiles.start(target, common_pb2.PROFILE_KIND_TYPES, 300)
        profiles.until(types.id, p.PROFILE_STATE_SUCCEEDED)
        native = profiles.start(target, common_pb2.PROFILE_KIND_NATIVE, 500)
        done = profiles.until(native.id, p.PROFILE_STATE_SUCCEEDED, p.PROFILE_STATE_FAILED)
        assert done.state == p.PROFILE_STATE_SUCCEEDED, done.error
        _check_http(stack, types.id, native.id)
        page = stack.folder / "flame.html"
        stack.ctl("profiles", "report", native.id, "flamegraph", "--output", str(page))
        assert str(app) in page.read_text()
        file = stack.folder / "raw.bin"
        stack.ctl("profiles", "report", native.id, "artifact", "--output", str(file))
        assert memray.FileReader(file).metadata.pid == process.pid

        with pytest.raises(grpc.RpcError) as caught:
            profiles.start(target, common_pb2.PROFILE_KIND_SAMPLING, 100)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        cleaned = stack.json("profiles", "cleanup", "--older-than", "1ms")
        assert len(cleaned["profile_ids"]) == 4
        assert process.poll() is None
        assert stack.leftovers() == []
        assert not list(Path(stack.hooks).glob("*.profile*"))


def _sampled(profiles: Profiles, service: str) -> str:
    """The id of the profile that the service made of itself."""
    found: list[str] = []

    def there() -> bool:
        request = profiles_pb2.ListProfilesRequest(service=service)
        listed = profiles.call("ListProfiles", request).profiles
        found[:] = [one.id for one in listed if one.origin == profiles_pb2.PROFILE_ORIGIN_REQUEST]
        return bool(found)

    wait_until(there, 60, "a sampled profile")
    return found[0]


def _check_http(stack: Stack, types: str, native: str) -> None:
    """The same over HTTP: lists, documents, pages, errors."""
    transport = httpx.HTTPTransport(uds=f"{stack.folder}/h.sock")
    headers = {"Authorization": f"Bearer {stack.token}"}
    url = "http://127.0.0.1/api/v1/profiles"
    with httpx.Client(transport=transport, headers=headers, timeout=60) as http:
        listed = http.get(url, params={"kind": "types"}).json()["profiles"]
        assert types in [one["id"] for one in listed]
        table = http.get(f"{url}/{types}/reports/table", params={"limit": 5})
        assert table.headers["content-type"] == "application/json"
        assert len(table.json()["rows"]) == 5
        page = http.get(f"{url}/{native}/reports/table", params={"format": "html"})
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"] == "sandbox allow-scripts"
        assert int(page.headers["content-length"]) == len(page.content)
        refused = http.get(f"{url}/{native}/reports/nothing")
        assert (refused.status_code, refused.json()["reason"]) == (400, Reason.INVALID_ARGUMENT)
        assert "it has summary, table" in refused.json()["detail"]
