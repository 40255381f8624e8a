import base64
import datetime
import socket
import ssl
import threading

import pytest

from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.config import Config
from memwatch_controller.cluster.watchdog import Watchdog
from memwatch_controller.diagnosis.service import Diagnosis
from memwatch_controller.injection.certificates import make_authority, make_leaf
from memwatch_controller.registry import Registry
from tests.controller.builders import agent, target
from tests.fakes.kubernetes import FakeKubernetes, pod

NOW = 1_795_329_155_000
ASKS = {"memwatch.dev/inject": "true"}


async def ready():
    return ""


@pytest.fixture
def fake():
    with FakeKubernetes() as running:
        yield running


@pytest.fixture
def webhook(tmp_path):
    """An HTTPS server that answers once and again; gives its port and its authority."""
    now = datetime.datetime.now(datetime.UTC)
    authority = make_authority(now)
    leaf = make_leaf(authority, ["hook.memwatch.svc"], now)
    (tmp_path / "pair.pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    secured.recv(4096)
                    secured.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")
            except OSError:
                plain.close()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], authority.certificate
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def configure(fake, port, authority, name="hook"):
    """A webhook's configuration, and its Service at loopback."""
    service = {"name": name, "namespace": "memwatch", "path": "/mutate", "port": port}
    bundle = base64.b64encode(authority).decode()
    fake.objects.put(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "memwatch"},
            "spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port}]},
        }
    )
    fake.objects.put(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "memwatch-webhook"},
            "webhooks": [
                {
                    "name": "inject.memwatch.dev",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {"service": service, "caBundle": bundle},
                }
            ],
        }
    )


async def diagnosed(fake, client=None, namespace="", namespaces=()):
    registry = Registry(None, lambda: NOW, 5_000)  # type: ignore[arg-type]
    registry.register(agent(version="0.1.0"), [target(pod="web-1", namespace="shop")])

    async def look(one):
        made = Diagnosis(
            registry,
            ready,
            one,
            "memwatch-webhook",
            ["memwatch"],
            "0.1.0",
            lambda: NOW,
            namespaces,
        )
        return {check.name: check for check in await made.checks(namespace)}

    if fake is None:
        return await look(None)
    async with Client(Config(fake.url, namespace="memwatch"), {}) as opened:
        return await look(opened)


async def test_without_a_cluster():
    """Agents, targets, versions, headroom, clock and store; the cluster is skipped."""
    found = await diagnosed(None)
    assert list(found) == [
        "store",
        "agents",
        "versions",
        "targets",
        "headroom",
        "clock",
        "cluster",
    ]
    assert found["cluster"].state == "skipped"


async def test_a_cluster_in_order(fake, webhook):
    """Version, every mode's rights, the webhook over TLS, its certificate, pods, probes."""
    configure(fake, *webhook)
    # As the chart's roles have it: one service and one configuration, each by its name.
    fake.faults.named = {
        ("get", "services", "memwatch"),
        ("get", "mutatingwebhookconfigurations", ""),
    }
    fake.objects.put(pod("web-1", annotations=ASKS, spec={"initContainers": [AGENT]}))
    found = await diagnosed(fake)
    assert {name: str(check.state) for name, check in found.items() if check.state != "ok"} == {
        "headroom": "skipped",
        "clock": "skipped",
        "probes": "skipped",
    }
    assert found["cluster"].message == "the API server is v1.36.0-fake"
    assert "in 90 days" in found["certificate"].message


AGENT = {"name": "memwatch-agent", "image": "a:1", "restartPolicy": "Always"}


async def test_only_the_namespaces_that_may_be_read(fake, webhook):
    """With narrow roles a doctor who is told no namespace looks at those of the settings."""
    configure(fake, *webhook)
    fake.objects.put(pod("bare", namespace="other", annotations=ASKS))
    fake.objects.put(pod("web-1", annotations=ASKS, spec={"initContainers": [AGENT]}))
    found = await diagnosed(fake, namespaces=["shop"])
    assert (found["injection"].state, found["rights"].state) == ("ok", "ok")
    assert "shop" in found["rights"].message
    found = await diagnosed(fake, namespaces=["shop", "other"])
    assert found["injection"].state != "ok"


async def test_a_cluster_out_of_order(fake, webhook):
    """A pod without its agent, a right that is missing, a certificate of another authority."""
    port, _ = webhook
    configure(fake, port, make_authority(datetime.datetime.now(datetime.UTC)).certificate)
    fake.objects.put(pod("bare", annotations=ASKS))
    fake.objects.put(pod("ours", namespace="memwatch", annotations=ASKS))
    fake.faults.forbidden = {("delete", "pods")}
    found = await diagnosed(fake)
    assert [text.partition(":")[0] for text in found["injection"].subjects] == ["shop/bare"]
    assert "no webhook answered" in found["injection"].subjects[0]
    assert found["rights"].subjects == ("detach: delete pods",)
    assert "not of its caBundle" in found["webhook"].message
    assert {found[name].state for name in ("injection", "rights", "webhook")} == {"failed"}


async def test_a_webhook_that_is_not_there(fake):
    """No configuration is a warning; a server that nobody listens at is a failure."""
    assert (await diagnosed(fake))["webhook"].state == "warning"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    configure(fake, port, b"")
    found = (await diagnosed(fake))["webhook"]
    assert found.state == "failed"
    assert "cannot be reached" in found.message


async def test_the_watchdog_counts_and_forgets(fake):
    """What is missing is a figure; an API server that refuses makes it unknown."""
    fake.objects.put(pod("bare", annotations=ASKS))
    wrong = {"memwatch.dev/inject": "true", "memwatch.dev/runtime": "ruby"}
    fake.objects.put(pod("wrong", annotations=wrong))
    fake.objects.put(pod("none", annotations={"memwatch.dev/inject": "false"}))
    async with Client(Config(fake.url), {}) as client:
        watchdog = Watchdog(client, ["memwatch"])
        assert watchdog.missing is None
        await watchdog.look()
        assert watchdog.missing == 2
        fake.faults.forbidden = {("list", "pods")}
        await watchdog.look()
        assert watchdog.missing is None


async def test_the_watchdog_reads_the_named_namespaces_alone(fake):
    """With the namespaces of services named it lists the pods of each of them, and of no other."""
    for place in ("shop", "pay", "else"):
        fake.objects.put(pod("bare", namespace=place, annotations=ASKS))
    async with Client(Config(fake.url), {}) as client:
        watchdog = Watchdog(client, ["memwatch"], ("shop", "pay"))
        await watchdog.look()
    assert watchdog.missing == 2
    assert [call[:3] for call in fake.calls] == [("list", "pods", "shop"), ("list", "pods", "pay")]
