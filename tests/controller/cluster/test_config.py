import base64
import datetime
import json
import sys

import pytest
import yaml

from memwatch_controller.cluster import config, errors
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.resources import PODS
from memwatch_controller.injection.certificates import make_authority, make_leaf
from tests.fakes.kubernetes import FakeKubernetes, pod


def kubeconfig(path, cluster, user, **context):
    document = {
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", **context}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def test_client_certificates_and_an_authority_of_its_own(tmp_path):
    """A kubeconfig with data and files, over TLS with a certificate at both ends."""
    authority = make_authority(datetime.datetime.now(datetime.UTC))
    leaf = make_leaf(authority, ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    named = make_leaf(authority, ["kubernetes.default"], datetime.datetime.now(datetime.UTC))
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "server.pem").write_bytes(named.certificate + named.key)
    (tmp_path / "client.key").write_bytes(leaf.key)
    with FakeKubernetes(tls=tmp_path / "server.pem", token="secret") as fake:
        fake.objects.put(pod("web-1"))
        cluster = {
            "server": fake.url,
            "certificate-authority": "ca.crt",
            "tls-server-name": "kubernetes.default",
        }
        user = {
            "token": "secret",
            "client-certificate-data": base64.b64encode(leaf.certificate).decode(),
            "client-key": "client.key",
        }
        path = kubeconfig(tmp_path / "config", cluster, user, namespace="shop")
        loaded = config.load(str(path), {})
        async with Client(loaded, {}) as client:
            assert client.namespace == "shop"
            assert await client.get(PODS, "web-1", "shop")
        stranger = config.Config(fake.url, token="secret")
        async with Client(stranger, {}, _no_sleep) as client:
            with pytest.raises(errors.ClusterUnavailableError, match="certificate"):
                await client.get(PODS, "web-1", "shop")


async def _no_sleep(_):
    pass


async def test_a_service_account_whose_token_is_renewed(tmp_path):
    """In a pod: address from the environment, the token read again for every call."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("memwatch")
    (tmp_path / "ca.crt").write_text("")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    loaded = config.in_cluster(environ, tmp_path)
    assert (loaded.server, loaded.namespace) == ("https://[fd00::1]:443", "memwatch")
    with FakeKubernetes(token="second") as fake:
        fake.objects.put(pod("web-1"))
        async with Client(config.Config(fake.url, token_file=tmp_path / "token"), {}) as client:
            with pytest.raises(errors.ClusterUnauthorizedError):
                await client.get(PODS, "web-1", "shop")
            (tmp_path / "token").write_text("second\n")
            assert await client.get(PODS, "web-1", "shop")


async def test_a_credential_program_is_asked_again_when_its_token_is_refused(tmp_path):
    """`exec` credentials: kept between calls, fetched anew after a 401, its failure told."""
    script = tmp_path / "login"
    count = tmp_path / "count"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"path = {str(count)!r}\n"
        "n = int(open(path).read() or 0) + 1 if os.path.exists(path) else 1\n"
        "open(path, 'w').write(str(n))\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
        "print(json.dumps({'status': {'token': os.environ['PREFIX'] + str(n)}}))\n"
    )
    script.chmod(0o755)
    with FakeKubernetes(token="t2") as fake:
        fake.objects.put(pod("web-1"))
        program = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./login",
            "env": [{"name": "PREFIX", "value": "t"}],
        }
        path = kubeconfig(tmp_path / "config", {"server": fake.url}, {"exec": program})
        async with Client(config.load(str(path), {})) as client:
            assert await client.get(PODS, "web-1", "shop")
            assert await client.get(PODS, "web-1", "shop")
    assert count.read_text() == "2"
    broken = config.Exec("false")
    with pytest.raises(errors.NoClusterError, match="exit code 1"):
        config.token_of(broken, {"PATH": "/bin:/usr/bin"})


async def test_basic_authentication(tmp_path):
    """A user and a password are a header."""
    with FakeKubernetes() as fake:
        fake.objects.put(pod("web-1"))
        async with Client(config.Config(fake.url, user="a", password="b"), {}) as client:
            assert await client._credentials() == {"authorization": "Basic YTpi"}


def test_several_kubeconfigs_are_merged(tmp_path):
    """KUBECONFIG names several files; what comes first wins, files that are missing are left."""
    one = kubeconfig(tmp_path / "one", {"server": "https://one"}, {"token": "1"})
    two = tmp_path / "two"
    two.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "far", "cluster": {"server": "https://far"}}],
                "contexts": [{"name": "away", "context": {"cluster": "far"}}],
            }
        )
    )
    environ = {"KUBECONFIG": f"{tmp_path}/missing:{one}:{two}"}
    assert config.load("", environ).server == "https://one"
    assert config.load("", environ, "away").server == "https://far"
    with pytest.raises(errors.NoClusterError, match="no context 'none'; there is away, one"):
        config.load("", environ, "none")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (": {", "no YAML"),
        ("[]", "no kubeconfig"),
        ("{}", "no context"),
        (
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                    "clusters": [{"name": "c", "cluster": {"server": "ftp://x"}}],
                }
            ),
            "names no server",
        ),
    ],
)
def test_a_kubeconfig_that_is_none_is_told(tmp_path, text, cause):
    """Each way of being wrong has its sentence, and the next step."""
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(errors.NoClusterError, match=cause) as error:
        config.load(str(path), {})
    assert "start it with --cluster" in str(error.value)


def test_outside_of_clusters(tmp_path):
    """No service account and no kubeconfig is one sentence."""
    with pytest.raises(errors.NoClusterError, match="neither"):
        config.load("", {"KUBECONFIG": str(tmp_path / "none")})
    with pytest.raises(errors.NoClusterError, match="no pod"):
        config.load("in-cluster", {})
