"""The webhook's certificate in a cluster: replicas agree, the configuration is told first."""

import asyncio
import base64
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.config import Config
from memwatch_controller.cluster.errors import ClusterError, ClusterForbiddenError
from memwatch_controller.injection.certificates import Keeping, Kept
from memwatch_controller.injection.keeper import Keeper
from tests.controller.injection.test_webhook import command
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.kubernetes_objects import RefusedError
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import program_env

KEEPING = Keeping("memwatch", "memwatch-webhook-certificate", "memwatch-webhook", "hook")
NAME = "hook.memwatch.svc"


def configuration():
    """The MutatingWebhookConfiguration as the chart makes it: nobody signs yet."""
    webhook = {
        "name": "inject.memwatch.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "clientConfig": {"service": {"name": "hook", "namespace": "memwatch", "path": "/mutate"}},
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "memwatch-webhook"},
        "webhooks": [webhook],
    }


@pytest.fixture
def fake():
    """A fake API server with what the chart installs."""
    with FakeKubernetes() as started:
        secret = {"name": KEEPING.secret, "namespace": "memwatch"}
        started.objects.put(
            {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "type": "Opaque"}
        )
        started.objects.put(configuration())
        yield started


class Replica:
    """One webhook's keeper, with its own clock and folder."""

    def __init__(self, fake, folder):
        self.now = datetime(2026, 11, 22, tzinfo=UTC)
        self.naps = []
        self.files = (folder / "tls.crt", folder / "tls.key")
        self.client = Client(Config(fake.url, namespace="memwatch"), {}, self.nap)
        self.keeper = Keeper(self.client, KEEPING, self.files, lambda: self.now, self.nap)

    async def nap(self, seconds):
        """Stands for sleep."""
        self.naps.append(seconds)
        await asyncio.sleep(0)

    @property
    def leaf(self):
        """The certificate that its server would show."""
        return self.files[0].read_bytes()


@pytest.fixture
async def replicas(fake, tmp_path):
    """Four replicas of a webhook."""
    made = [Replica(fake, tmp_path / str(number)) for number in range(4)]
    yield made
    for one in made:
        await one.client.close()


def bundle_of(fake):
    """What the API server trusts."""
    made = fake.objects.get(resources.WEBHOOKS, "memwatch-webhook")
    return base64.b64decode(made["webhooks"][0]["clientConfig"].get("caBundle", ""))


def kept_in(fake):
    """What the secret holds."""
    return Kept.of_secret(fake.objects.get(resources.SECRETS, KEEPING.secret, "memwatch")["data"])


def changes(fake):
    """How often something was changed in the cluster."""
    return [call[0] for call in fake.calls if call[0] in ("create", "update", "patch")]


async def test_first_look(fake, replicas):
    """The first look makes a certificate, tells who signs it and changes nothing else."""
    await replicas[0].keeper.first()
    made = fake.objects.get(resources.WEBHOOKS, "memwatch-webhook")
    del made["webhooks"][0]["clientConfig"]["caBundle"]
    assert made["webhooks"] == configuration()["webhooks"]
    kept = kept_in(fake)
    assert (bundle_of(fake), replicas[0].leaf) == (kept.bundle, kept.leaf.certificate)
    assert replicas[0].files[1].stat().st_mode & 0o777 == 0o600
    assert not list(replicas[0].files[0].parent.glob("*.half"))

    await replicas[0].keeper.look()
    assert changes(fake) == ["update", "patch"]


async def test_replicas_agree(fake, replicas):
    """Of replicas that start at once one makes the certificate, and all show it."""
    await asyncio.gather(*(one.keeper.first() for one in replicas))
    assert {one.leaf for one in replicas} == {kept_in(fake).leaf.certificate}
    stored = [version for version in changes(fake) if version == "update"]
    assert len(stored) >= 1
    assert bundle_of(fake) == kept_in(fake).bundle


async def test_secret_that_is_gone(fake, replicas):
    """A deleted secret is made again, by one of the replicas."""
    fake.objects.delete(resources.SECRETS, KEEPING.secret, "memwatch")
    await asyncio.gather(*(one.keeper.first() for one in replicas))
    assert {one.leaf for one in replicas} == {kept_in(fake).leaf.certificate}


async def test_rotation(fake, replicas):
    """A leaf is renewed before it ends, by whoever looks first; the authority stays."""
    await asyncio.gather(*(one.keeper.first() for one in replicas))
    before, told = kept_in(fake), changes(fake).count("patch")
    for one in replicas:
        one.now += timedelta(days=61)
        await one.keeper.look()
    after = kept_in(fake)
    assert (after.authority, after.leaf == before.leaf) == (before.authority, False)
    assert {one.leaf for one in replicas} == {after.leaf.certificate}
    assert changes(fake).count("patch") == told


async def test_new_authority_is_told_first(fake, replicas):
    """A leaf of a new authority is shown only once the API server trusts both authorities."""
    one, other = replicas[:2]
    await one.keeper.first()
    await other.keeper.first()
    one.now += timedelta(days=3300)
    fake.faults.forbidden.add(("patch", "mutatingwebhookconfigurations"))
    old = one.leaf
    with pytest.raises(ClusterForbiddenError):
        await one.keeper.look()
    assert one.leaf == old

    fake.faults.forbidden.clear()
    await one.keeper.look()
    trusted = x509.load_pem_x509_certificates(bundle_of(fake))
    for leaf, authority in ((one.leaf, trusted[0]), (other.leaf, trusted[1])):
        x509.load_pem_x509_certificate(leaf).verify_directly_issued_by(authority)


async def test_late_replica_takes_nothing_back(fake, replicas):
    """Who read the secret before it was renewed cannot put the old authority back."""
    early, late = replicas[:2]
    await early.keeper.first()
    early.now += timedelta(days=3300)
    fake.objects.put(configuration())
    get = late.client.get

    async def overtaken(resource, name, namespace=""):
        found = await get(resource, name, namespace)
        if resource is resources.SECRETS and early.keeper.look not in seen:
            seen.append(early.keeper.look)
            await early.keeper.look()
        return found

    seen: list[object] = []
    late.client.get = overtaken
    await late.keeper.look()
    assert bundle_of(fake) == kept_in(fake).bundle
    assert late.leaf == early.leaf == kept_in(fake).leaf.certificate


async def test_reset_configuration(fake, replicas):
    """A configuration that was applied anew, without the authority, is told it again."""
    await replicas[0].keeper.first()
    fake.objects.put(configuration())
    await replicas[0].keeper.look()
    assert bundle_of(fake) == kept_in(fake).bundle


async def test_away(fake, replicas):
    """While the cluster is away the webhook waits for its certificate, and goes on later."""
    fake.faults.failing = [(403, None)] * 3
    await replicas[0].keeper.first()
    assert replicas[0].naps == [3.0, 3.0, 3.0]
    assert replicas[0].leaf


async def test_somebody_else_writes_for_ever(fake, replicas):
    """A secret that is changed each time it is to be written ends the look, not the program."""

    def replace(*_, **__):
        raise RefusedError(409, "Conflict", "the object has been modified")

    fake.objects.replace = replace
    with pytest.raises(ClusterError, match="somebody changed it, or the configuration, 10 times"):
        await replicas[0].keeper.look()
    assert not replicas[0].files[0].exists()


def test_program(fake, tmp_path):
    """The webhook as a program makes its certificate, and the API server's trust is enough."""
    port = free_port()
    flags = (
        *("--listen", f"127.0.0.1:{port}", "--controller", "10.0.0.1:9466"),
        *("--certificate-secret", KEEPING.secret, "--certificate-dir", tmp_path / "run"),
        *("--configuration", KEEPING.configuration, "--service", KEEPING.service),
    )
    kubeconfig = str(fake.kubeconfig(tmp_path))
    env = {**program_env(), "POD_NAMESPACE": "memwatch", "KUBECONFIG": kubeconfig}
    with running(command(*flags), env=env, log=tmp_path / "log"):
        wait_until(lambda: shown(port, bundle_of(fake)), 60)
    assert kept_in(fake).leaf.certificate == (tmp_path / "run" / "tls.crt").read_bytes()


def shown(port, bundle):
    """Whether a caller that trusts a bundle is shown a certificate for the service's name."""
    if not bundle:
        return False
    context = ssl.create_default_context(cadata=bundle.decode())
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname=NAME),
        ):
            return True
    except ConnectionError:
        return False
