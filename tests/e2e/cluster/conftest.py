"""A real cluster with the chart installed; see settings.py for what it is told."""

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import settings as suite
from tests.e2e.cluster.shop import manifests
from tests.support.processes import running, wait_until
from tests.support.runtimes import ROOT
from tests.support.stack import program_env

CHART = ROOT / "deploy" / "helm" / "memwatch"


@dataclass(frozen=True)
class Cluster:
    """A cluster with memwatch in it.

    Attributes:
        settings: what the suite was told.
        own, services: namespaces of memwatch and of the services.
        controller: where its gRPC server is reached from here.
        token: the bearer token.
        stack: closes what was opened, such as port-forwards.
    """

    settings: suite.Settings
    own: str
    services: str
    stack: ExitStack
    controller: str = ""
    token: str = ""

    def kubectl(self, *words: str, namespace: str = "", stdin: str = "") -> str:
        """What kubectl printed."""
        place = ("--namespace", namespace or self.services)
        command = [self.settings.kubectl, "--kubeconfig", self.settings.kubeconfig, *place, *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {words}: {done.stderr[-2000:]}"
        return done.stdout

    def get(self, *words: str, namespace: str = "") -> Any:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json", namespace=namespace))

    def apply(self, objects: list[dict[str, Any]], namespace: str = "") -> None:
        """Makes objects, or brings them up to date."""
        bundle = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "-f", "-", namespace=namespace, stdin=json.dumps(bundle))

    def rolled_out(self, kind_name: str, namespace: str = "") -> None:
        """Waits until a workload is complete."""
        self.kubectl("rollout", "status", kind_name, "--timeout=180s", namespace=namespace)

    def address(self, service: str, port: int, namespace: str = "") -> str:
        """host:port at which a service is reached from here."""
        namespace = namespace or self.services
        if not self.settings.forwards:
            found = self.get("service", service, namespace=namespace)
            return f"{found['spec']['clusterIP']}:{port}"
        return self._forwarded(service, port, namespace)

    def _forwarded(self, service: str, port: int, namespace: str) -> str:
        log = Path(f"{os.environ.get('TMPDIR', '/tmp')}/memwatch-forward-{uuid.uuid4().hex}.log")
        command = [self.settings.kubectl, "--kubeconfig", self.settings.kubeconfig, "--namespace"]
        command += [namespace, "port-forward", f"service/{service}", f":{port}"]
        self.stack.callback(log.unlink)
        self.stack.enter_context(running(command, log=log))
        wait_until(lambda: "Forwarding from 127.0.0.1:" in log.read_text(), 30, "the port-forward")
        told = log.read_text().partition("Forwarding from 127.0.0.1:")[2]
        return f"127.0.0.1:{int(told.split(' ')[0])}"

    def pods(self, app: str) -> list[Any]:
        """The pods of a service that are not being deleted."""
        found = self.get("pods", "-l", f"app={app}")["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def serving(self, app: str) -> set[str]:
        """Names of the pods that the service's EndpointSlices have ready."""
        slices = self.get("endpointslices", "-l", f"kubernetes.io/service-name={app}")["items"]
        return {
            endpoint["targetRef"]["name"]
            for found in slices
            for endpoint in found.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
        }

    def ctl(self, *words: str) -> list[str]:
        """A command of ours against this cluster's controller."""
        return [sys.executable, "-P", "-m", "memwatchctl", *words]

    @property
    def env(self) -> dict[str, str]:
        """What lets it in."""
        ours = {"MEMWATCH_CONTROLLER": self.controller, "MEMWATCH_TOKEN": self.token}
        return {**os.environ, **program_env(), **ours}


@pytest.fixture(scope="session")
def settings() -> suite.Settings:
    """What the suite was told; without a cluster its tests are skipped, and say so."""
    found = suite.read()
    if not found.kubeconfig:
        pytest.skip("no cluster: MEMWATCH_E2E_KUBECONFIG names none")
    return found


@pytest.fixture(scope="session")
def cluster(settings: suite.Settings) -> Iterator[Cluster]:
    """A cluster with the chart installed, every mode on; all is removed afterwards."""
    mark = uuid.uuid4().hex[:6]
    own, services = f"{settings.namespace}-{mark}", f"{settings.namespace}-{mark}-shop"
    with ExitStack() as stack:
        made = Cluster(settings, own, services, stack)
        for namespace in (own, services):
            made.apply([restricted(namespace)])
            stack.callback(
                made.kubectl, "delete", "namespace", namespace, "--wait=false", namespace="default"
            )
        install(made)
        stack.callback(helm, made, "uninstall", "memwatch", "--wait")
        made.rolled_out("statefulset/memwatch-controller", own)
        made.rolled_out("deployment/memwatch-webhook", own)
        secret = made.get("secret", "memwatch-token", namespace=own)
        token = base64.b64decode(secret["data"]["token"]).decode()
        yield replace(made, controller=made.address("memwatch", 9466, own), token=token)


@pytest.fixture(scope="session")
def shop(cluster: Cluster) -> str:
    """A service of two pods, each with its agent."""
    told = cluster.settings
    cluster.apply(manifests("web", told.node_image, told.pull_policy, 2))
    cluster.rolled_out("deployment/web")
    return "web"


def restricted(name: str) -> dict[str, Any]:
    """A namespace that keeps to the restricted Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def install(cluster: Cluster) -> None:
    """Installs the chart with every mode on."""
    told = cluster.settings
    values = {
        "images": {"tag": told.tag, "pullPolicy": told.pull_policy, "registry": told.registry},
        "namespaces": [cluster.services],
        "token": {"namespaces": [cluster.services]},
        "modes": {"attach": True, "isolate": {"readiness": True, "detach": True}},
        "controller": {
            "addressFrom": "clusterIP",
            "storage": {"size": "2Gi"},
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        },
        "kubernetes": {"apiServer": told.api_server},
    }
    helm(cluster, "install", "memwatch", str(CHART), "--values=-", stdin=json.dumps(values))


def helm(cluster: Cluster, *words: str, stdin: str = "") -> None:
    """Runs helm in memwatch's namespace."""
    told = cluster.settings
    command = [told.helm, "--kubeconfig", told.kubeconfig, "--namespace", cluster.own, *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"helm {words}: {done.stderr[-2000:]}"
