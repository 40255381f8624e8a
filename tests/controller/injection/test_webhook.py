"""The webhook as a program, over real HTTPS, with certificates of our own."""

import base64
import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import jsonpatch
import pytest

from memwatch_controller.errors import StartError
from memwatch_controller.injection import certificates
from memwatch_controller.webhook_settings import parse
from tests.controller.injection.test_patch import SHAPES, names, pod, review
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import program_env

NAME = "memwatch-webhook.memwatch.svc"
NOW = datetime.now(UTC)


def command(*flags):
    """The webhook's command line."""
    return [sys.executable, "-P", "-m", "memwatch_controller", "webhook", *map(str, flags)]


class Client:
    """Calls the webhook as an API server does: by its service's name, trusting our authority."""

    def __init__(self, port, authority):
        self.port = port
        self.context = ssl.create_default_context(cadata=authority.certificate.decode())
        self.context.check_hostname = False  # the name is checked by hand: there is no DNS here
        self.folder = None

    def post(self, body):
        """The status and the JSON answer to a body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/mutate", data)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def get(self, path):
        """A page."""
        url = f"https://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=10, context=self.context) as answer:
            return answer.read().decode()

    def certificate(self):
        """What the server shows, checked against the authority."""
        return ssl.get_server_certificate(("127.0.0.1", self.port))

    def answers(self):
        """Whether it does."""
        try:
            return self.get("/healthz") == "ok\n"
        except OSError:
            return False


@pytest.fixture(scope="module")
def webhook(tmp_path_factory):
    """A webhook that runs, with a certificate for its service's name."""
    folder = tmp_path_factory.mktemp("webhook")
    authority = certificates.make_authority(NOW)
    leaf = certificates.make_leaf(authority, [NAME], NOW)
    (folder / "tls.crt").write_bytes(leaf.certificate)
    (folder / "tls.key").write_bytes(leaf.key)
    port = free_port()
    flags = ("--listen", f"127.0.0.1:{port}", "--controller", "memwatch.memwatch:9466")
    files = ("--tls-cert", folder / "tls.crt", "--tls-key", folder / "tls.key")
    env = {**program_env(), "POD_NAMESPACE": "memwatch"}
    with running(command(*flags, *files), env=env, log=folder / "log"):
        client = Client(port, authority)
        client.folder = folder
        wait_until(client.answers, 60)
        yield client, authority


@pytest.mark.parametrize("shape", SHAPES)
def test_review(webhook, shape):
    """Each shape of pod comes back over HTTPS as a patch that adds the agent."""
    made, _ = SHAPES[shape]
    status, answered = webhook[0].post(review(made))

    response = answered["response"]
    assert (status, response["allowed"], response["patchType"]) == (200, True, "JSONPatch")
    operations = json.loads(base64.b64decode(response["patch"]))
    out = jsonpatch.apply_patch(made, operations)
    assert "memwatch-agent" in names(out, "initContainers")


def test_own_namespace(webhook):
    """Pods of the webhook's own namespace are left alone: it must be able to start again."""
    _, answered = webhook[0].post(review(pod(), namespace="memwatch"))
    assert answered["response"] == {"uid": "705ab4f5", "allowed": True}


def test_dry_run(webhook):
    """A dry run is answered like any other: nothing outside the answer changes anyway."""
    _, answered = webhook[0].post(review(pod(), dryRun=True))
    assert "patch" in answered["response"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is no JSON"),
        (b"[" * 100_000, 400, "the body is no JSON"),
        (b"{}", 400, "the body is no AdmissionReview"),
        (b"\xff\xfe", 400, "the body is no JSON"),
        (b" " * (3 * 1024 * 1024 + 1), 413, "longer than"),
    ],
)
def test_body_of_no_use(webhook, body, status, said):
    """A hostile body is refused by name, and the next one answered."""
    got, answered = webhook[0].post(body)
    assert (got, said in answered["error"]) == (status, True)
    assert webhook[0].post(review(pod()))[0] == 200


def test_metrics(webhook):
    """What was injected and refused, and when the certificate ends, can be scraped."""
    client, _ = webhook
    client.post(review(pod(hostNetwork=True)))
    page = client.get("/metrics")
    assert 'memwatch_webhook_reviews_total{outcome="refused"}' in page
    line = next(x for x in page.splitlines() if x.startswith("memwatch_webhook_certificate"))
    ends = datetime.fromtimestamp(float(line.split()[1]), UTC)
    assert timedelta(days=89) < ends - NOW < timedelta(days=91)


def test_certificate_for_the_name(webhook):
    """The certificate is the authority's, and for the service's name."""
    client, authority = webhook
    shown = client.certificate().encode()
    assert not certificates.is_due(shown, authority.certificate, [NAME], NOW)
    assert certificates.is_due(shown, authority.certificate, ["other.svc"], NOW)


def test_renewal(webhook):
    """A certificate that is renewed in its files is shown to new callers, without a restart."""
    client, authority = webhook
    before = client.certificate()
    leaf = certificates.make_leaf(authority, [NAME], NOW)
    (client.folder / "tls.key").write_bytes(leaf.key)
    (client.folder / "tls.crt").write_bytes(leaf.certificate)
    wait_until(lambda: client.certificate() != before, 40)
    assert client.certificate().encode().strip() == leaf.certificate.strip()


@pytest.mark.parametrize("days", [0, 59, 61, 89, 91])
def test_when_it_is_due(days):
    """A leaf is due for renewal in the last third of its life, and not before."""
    authority = certificates.make_authority(NOW)
    leaf = certificates.make_leaf(authority, [NAME], NOW)
    later = NOW + timedelta(days=days)
    due = certificates.is_due(leaf.certificate, authority.certificate, [NAME], later)
    assert due == (days > 60)


def test_another_authority_s():
    """A leaf of another authority, or none, is due."""
    authority, other = (certificates.make_authority(NOW) for _ in range(2))
    leaf = certificates.make_leaf(other, [NAME], NOW)
    assert certificates.is_due(leaf.certificate, authority.certificate, [NAME], NOW)
    assert certificates.is_due(b"nonsense", authority.certificate, [NAME], NOW)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--agent-image|--controller"),
        (("--controller", "nowhere"), "--controller 'nowhere'"),
        (("--controller", "a:1", "--sidecar", "new"), "it is none of native, classic"),
        (("--controller", "a:1", "--pull-policy", "Perhaps"), "it is none of always"),
        (("--controller", "a:1"), "--tls-cert: it is missing"),
    ],
)
def test_setting_of_no_use(flags, said):
    """A setting that cannot be used is named before anything is served."""
    with pytest.raises(StartError, match=said):
        parse(flags, {})


def test_certificate_that_is_none(tmp_path):
    """A certificate that cannot be read ends the program with one line and exit code 2."""
    for name in ("crt", "key"):
        (tmp_path / name).write_text("nonsense")
    files = ("--tls-cert", tmp_path / "crt", "--tls-key", tmp_path / "key")
    flags = ("--listen", f"127.0.0.1:{free_port()}", "--controller", "a:1", *files)
    done = subprocess.run(
        command(*flags), env=program_env(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("memwatch-controller: cannot start the webhook with --tls-cert")
