"""A real cluster with the chart installed; see settings.py for what it is told."""

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import settings as suite
from tests.e2e.cluster import storage
from tests.e2e.cluster.shop import INJECTED, manifests
from tests.support.processes import running, wait_until
from tests.support.runtimes import ROOT
from tests.support.stack import program_env

CHART = ROOT / "deploy" / "helm" / "memwatch"

#: No command may hang a run: longer than the longest wait that is asked of kubectl.
COMMAND_SECONDS = 300

#: What is shown of each container's log where something fails.
LOG_LINES = 60


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

    def kubectl(self, *words: str, namespace: str = "", stdin: str = "", check: bool = True) -> str:
        """What kubectl printed."""
        place = ("--namespace", namespace or self.services)
        command = [self.settings.kubectl, "--kubeconfig", self.settings.kubeconfig, *place, *words]
        done = _run(command, stdin=stdin)
        assert done.returncode == 0 or not check, f"kubectl {words}: {done.stderr[-2000:]}"
        return done.stdout

    def get(self, *words: str, namespace: str = "") -> Any:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json", namespace=namespace))

    def apply(self, objects: list[dict[str, Any]], namespace: str = "") -> None:
        """Makes objects, or brings them up to date."""
        stdin = "\n".join(json.dumps(one) for one in objects)
        self.kubectl("apply", "-f", "-", namespace=namespace, stdin=stdin)

    def rolled_out(self, kind_name: str, namespace: str = "") -> None:
        """Waits until a workload is complete; tells the pods' story where it does not get so."""
        try:
            self.kubectl("rollout", "status", kind_name, "--timeout=180s", namespace=namespace)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story(namespace)}") from error

    def story(self, namespace: str = "") -> str:
        """What there is to know of a namespace's pods: descriptions, events, logs."""

        def said(*words: str) -> str:
            return self.kubectl(*words, namespace=namespace, check=False)

        told = [
            said("describe", "pods"),
            said("get", "events", "--sort-by=.lastTimestamp"),
        ]
        for pod in said("get", "pods", "-o", "name").split():
            words = ("logs", pod, "--all-containers", "--prefix", f"--tail={LOG_LINES}")
            told.append(said(*words, "--ignore-errors"))
        return "\n".join(told)

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

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command of ours against this cluster's controller to its end."""
        done = _run(self.ctl(*words), env=self.env)
        if check and done.returncode:
            said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            raise AssertionError(f"memwatchctl {words}: {done.returncode}\n{said}")
        return done

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
        _volume(made, mark)
        # First: an install that fails half-way leaves roles and a webhook, too.
        stack.callback(helm, made, "uninstall", "memwatch", "--wait", "--ignore-not-found")
        install(made)
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


@pytest.fixture(scope="session")
def python_shop(cluster: Cluster) -> str:
    """A Python service of one pod, with its agent and the hook."""
    annotations = {"memwatch.dev/inject": "true", "memwatch.dev/runtime": "python"}
    return _service(cluster, "reports", "python", annotations)


@pytest.fixture(scope="session")
def attached_shop(cluster: Cluster) -> str:
    """A Node.js service of one pod whose agent attaches: no hook, one process namespace."""
    return _service(cluster, "orders", "node", {**INJECTED, "memwatch.dev/hook": "false"})


@pytest.fixture(scope="session")
def bare_shop(cluster: Cluster) -> str:
    """A Node.js service of one pod that knows nothing of memwatch."""
    return _service(cluster, "bare", "node", {})


def _service(cluster: Cluster, name: str, runtime: str, annotations: Mapping[str, str]) -> str:
    told = cluster.settings
    image = told.python_image if runtime == "python" else told.node_image
    cluster.apply(manifests(name, image, told.pull_policy, 1, runtime, annotations))
    cluster.rolled_out(f"deployment/{name}")
    return name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Adds to each failure what the cluster's pods say."""
    report = yield
    made = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and made is not None:
        for namespace in (made.own, made.services):
            report.sections.append((f"pods of {namespace}", made.story(namespace)))
    return report


def _run(
    command: list[str], stdin: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=stdin,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"not within {COMMAND_SECONDS} s: {command}") from error


def _volume(cluster: Cluster, mark: str) -> None:
    """Makes the controller's volume where the cluster makes none."""
    told = cluster.settings
    classes = cluster.get("storageclasses", namespace="default")["items"]
    if told.storage_class or storage.has_default(classes):
        return
    image = controller_image(told)
    cluster.apply(storage.manifests(mark, cluster.own, image, told.pull_policy), "default")
    name = f"memwatch-e2e-{mark}"
    for kind in ("persistentvolume", "pod"):
        words = ("delete", kind, name, "--wait=false")
        cluster.stack.callback(cluster.kubectl, *words, namespace="default", check=False)

    def opened() -> bool:
        phase = cluster.get("pod", name, namespace="default")["status"].get("phase")
        assert phase != "Failed", cluster.story("default")
        return bool(phase == "Succeeded")

    wait_until(opened, 120, "the controller's folder to be open")


def controller_image(told: suite.Settings) -> str:
    """The controller's image, as the chart names it."""
    name = f"memwatch/controller:{told.tag}"
    return f"{told.registry.rstrip('/')}/{name}" if told.registry else name


def restricted(name: str) -> dict[str, Any]:
    """A namespace that keeps to the restricted Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def install(cluster: Cluster) -> None:
    """Installs the chart with every mode on."""
    stdin = json.dumps(values_of(cluster.settings, cluster.services))
    helm(cluster, "install", "memwatch", str(CHART), "--values=-", stdin=stdin)


def values_of(told: suite.Settings, services: str) -> dict[str, Any]:
    """The chart's values: every mode on, for one namespace of services."""
    return {
        "images": {"tag": told.tag, "pullPolicy": told.pull_policy, "registry": told.registry},
        "namespaces": [services],
        "token": {"namespaces": [services]},
        "modes": {"attach": True, "isolate": {"readiness": True, "detach": True}},
        "controller": {
            "addressFrom": "clusterIP",
            "storage": {"size": "2Gi", "storageClass": told.storage_class},
            "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        },
        "kubernetes": {"apiServer": told.api_server},
    }


def helm(cluster: Cluster, *words: str, stdin: str = "") -> None:
    """Runs helm in memwatch's namespace."""
    told = cluster.settings
    command = [told.helm, "--kubeconfig", told.kubeconfig, "--namespace", cluster.own, *words]
    done = _run(command, stdin)
    assert done.returncode == 0, f"helm {words}: {done.stderr[-2000:]}"
