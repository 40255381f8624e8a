"""The service that the cluster suite captures, and callers who must not notice."""

import http.client
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.support.stack import APPS

#: Restricted Pod Security, as a cautious team runs a service.
_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_POD = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}


#: By runtime: what starts its leaking service, and the file that holds it.
_PROGRAMS = {
    "node": (("node",), "leaky_node.js"),
    "python": (("python3", "-u"), "leaky_python.py"),
}

#: Annotations of pods that get the agent; without any a pod knows nothing of memwatch.
INJECTED = {"memwatch.dev/inject": "true", "memwatch.dev/runtime": "node"}


def manifests(
    name: str,
    image: str,
    pull_policy: str,
    replicas: int,
    runtime: str = "node",
    annotations: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """A leaking service with its code in a ConfigMap; usual: Node.js, injected, with a gate."""
    labels, (program, file) = {"app": name}, _PROGRAMS[runtime]
    if annotations is None:
        annotations = {**INJECTED, "memwatch.dev/isolate": "readiness"}
    container = {
        "name": "app",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": [*program, f"/app/{file}", "8080", "0.0.0.0"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        # A pod that ends goes on to answer until nobody is sent to it any more.
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
        "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "384Mi"}},
        "securityContext": _CONTAINER,
        "volumeMounts": [{"name": "code", "mountPath": "/app"}],
    }
    template = {
        "metadata": {"labels": labels, "annotations": dict(annotations)},
        "spec": {
            "securityContext": _POD,
            "containers": [container],
            "volumes": [{"name": "code", "configMap": {"name": name}}],
        },
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
        "template": template,
    }
    about = {"name": name}
    ports = [{"port": 8080, "targetPort": 8080}]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": about,
            "data": {file: (APPS / file).read_text(encoding="utf-8")},
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {"selector": labels, "ports": ports},
        },
    ]


def bare_pod(name: str, image: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    """A pod that is only shown to the API server (`--dry-run=server`), never run."""
    container = {"name": "app", "image": image, "securityContext": _CONTAINER}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": dict(annotations)},
        "spec": {"securityContext": _POD, "containers": [container]},
    }


class Callers:
    """Calls a service all the time, each request over a connection of its own.

    Attributes:
        seen: how often what was answered; everything that is no "ok" is a failed request.
    """

    def __init__(self, host: str, port: int, count: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._place = (host, port)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Sees that nobody noticed anything."""
        failed = {said: count for said, count in self.seen.items() if said != "ok"}
        assert not failed, failed
        assert self.seen["ok"] > 100

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            self.seen[self._call()] += 1

    def _call(self) -> str:
        connection = http.client.HTTPConnection(*self._place, timeout=15)
        try:
            connection.request("GET", "/stats", headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
        except OSError as error:
            return f"failed: {error!r}"
        finally:
            connection.close()
        return "ok" if answer.status == 200 else f"failed: {answer.status}"
