"""What tests/e2e/cluster sends to a cluster, as far as it can be checked without one."""

import base64
import json
import shutil
import subprocess
from contextlib import ExitStack

import jsonpatch
import pytest
import yaml

from memwatch_controller.injection import parts, reviews
from memwatch_proto import __version__
from tests.controller.injection.test_patch import review
from tests.e2e.cluster import conftest as cluster
from tests.e2e.cluster import settings, shop, storage
from tests.fakes.kubernetes import FakeKubernetes, pod, workload
from tests.support import runtimes
from tests.support.kubernetes_schemas import complaint
from tests.support.pod_security import violations

SERVER = "1.36"

TOLD = settings.read({"MEMWATCH_E2E_KUBECONFIG": "/k", "MEMWATCH_E2E_API_SERVER": "10.0.0.1:6443"})

ANNOTATIONS = {
    "gated": None,
    "python": {"memwatch.dev/inject": "true", "memwatch.dev/runtime": "python"},
    "attached": {**shop.INJECTED, "memwatch.dev/hook": "false"},
    "bare": {},
}


def made(name):
    """The objects of one of the suite's services."""
    runtime = "python" if name == "python" else "node"
    return shop.manifests(name, "local/node:test", "Never", 1, runtime, ANNOTATIONS[name])


def injected(pod):
    """A pod after the webhook, and its warnings."""
    told = parts.Settings(
        __version__, "memwatch/agent:1", "memwatch/init:1", "10.0.0.9:9466", gates=True
    )
    answer = reviews.answer(review(pod), told)["response"]
    patch = json.loads(base64.b64decode(answer.get("patch", "W10=")))
    return jsonpatch.apply_patch(pod, patch), answer.get("warnings", [])


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_services(name):
    """A strict server takes each object, the restricted standard each pod, with its agent too."""
    objects = made(name)
    assert [complaint(one, SERVER) for one in objects] == ["", "", ""]
    (template,) = (one["spec"]["template"] for one in objects if one["kind"] == "Deployment")
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": name}
    changed, warnings = injected(pod)
    assert complaint(changed, SERVER) == ""
    assert violations(changed["spec"]) == []
    assert warnings == []
    agents = [one["name"] for one in changed["spec"].get("initContainers") or ()]
    assert ("memwatch-agent" in agents) == (name != "bare")
    assert bool(changed["spec"].get("shareProcessNamespace")) == (name == "attached")
    assert bool(changed["spec"].get("readinessGates")) == (name == "gated")


def test_other_objects():
    """Namespaces, the controller's folder and the pod that is only shown are taken as they are."""
    shown = shop.bare_pod("asks", "local/node:test", shop.INJECTED)
    objects = [cluster.restricted("shop"), shown]
    objects += storage.manifests("a1b2c3", "memwatch-e2e", "memwatch/controller:1", "Never")
    assert [complaint(one, SERVER) for one in objects] == [""] * 4
    assert violations(injected(shown)[0]["spec"], "memwatch") == []


def test_default_storage_class():
    """A class counts as usual where its annotation says so, and only then."""
    plain = {"metadata": {"name": "slow"}}
    mark = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert not storage.has_default([])
    assert not storage.has_default([plain])
    assert storage.has_default([plain, {"metadata": {"annotations": mark}}])


@pytest.mark.skipif(not runtimes.helm(), reason="helm is not installed; run make test")
def test_install():
    """The chart takes the suite's values; names that the suite waits for are those it renders."""
    values = json.dumps(cluster.values_of(TOLD, "e2e-shop"))
    command = [
        str(TOLD.helm),
        "template",
        "memwatch",
        str(cluster.CHART),
        "--namespace=e2e",
        "--values=-",
    ]
    command += [f"--kube-version={SERVER}"]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=True)
    objects = [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]
    assert [found for one in objects if (found := complaint(one, SERVER))] == []
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    assert {
        ("StatefulSet", "memwatch-controller"),
        ("Deployment", "memwatch-webhook"),
        ("Service", "memwatch"),
        ("Secret", "memwatch-token"),
    } <= names
    (controller,) = (one for one in objects if one["kind"] == "StatefulSet")
    (claim,) = controller["spec"]["volumeClaimTemplates"]
    assert f"{claim['metadata']['name']}-{controller['metadata']['name']}-0" == storage.CLAIM
    assert "storageClassName" not in claim["spec"]
    (container,) = controller["spec"]["template"]["spec"]["containers"]
    assert container["image"] == cluster.controller_image(TOLD)
    assert container["imagePullPolicy"] == "Never"


def test_settings():
    """Without a variable the suite is skipped; each variable is taken."""
    assert settings.read({}).kubeconfig == ""
    told = settings.read({"MEMWATCH_E2E_ACCESS": "forward", "MEMWATCH_E2E_STORAGE_CLASS": "fast"})
    assert (told.forwards, told.storage_class, told.pull_policy) == (True, "fast", "Never")


@pytest.fixture
def on_a_fake(tmp_path):
    """The suite's own hands, on a FAKE API server; real kubectl between them."""
    if not shutil.which(TOLD.kubectl):
        pytest.skip("kubectl is not installed")
    with FakeKubernetes() as fake, ExitStack() as stack:
        told = settings.read({"MEMWATCH_E2E_KUBECONFIG": str(fake.kubeconfig(tmp_path))})
        yield fake, cluster.Cluster(told, "memwatch", "shop", stack)


def test_commands_of_kubectl(on_a_fake):
    """Objects are applied twice, read, shown by a dry run, told about and deleted, by kubectl."""
    fake, hands = on_a_fake
    fake.objects.put(pod("web-1", labels={"app": "web"}))
    slices = {
        **workload("EndpointSlice", "web-x"),
        "apiVersion": "discovery.k8s.io/v1",
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.0.0.{number}"],
                "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": f"web-{number}"},
            }
            for number, ready in ((1, True), (2, False))
        ],
    }
    slices.pop("spec", None)
    slices["metadata"]["labels"] = {"kubernetes.io/service-name": "web"}
    fake.objects.put(slices)
    hands.apply(shop.manifests("web", "local/node:test", "Never", 1))
    hands.apply(shop.manifests("web", "local/node:test", "Never", 2))
    assert hands.get("deployment", "web")["spec"]["replicas"] == 2
    assert [one["metadata"]["name"] for one in hands.pods("web")] == ["web-1"]
    assert hands.serving("web") == {"web-1"}
    assert "web-1" in hands.story()
    shown = json.dumps(shop.bare_pod("asks", "local/node:test", shop.INJECTED))
    words = ("create", "--dry-run=server", "-o", "json", "-f", "-")
    made = json.loads(hands.kubectl(*words, namespace="kube-system", stdin=shown))
    assert made["metadata"]["namespace"] == "kube-system"
    hands.kubectl("delete", "deployment/web", "--ignore-not-found", "--wait=false")
    with pytest.raises(AssertionError, match="not found"):
        hands.get("deployment", "web")
    with pytest.raises(AssertionError, match=r"Status: +Running"):
        hands.rolled_out("deployment/web")
