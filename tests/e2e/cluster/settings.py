"""What the cluster suite is told by its environment. Pure but for reading it.

| variable | |
|---|---|
| MEMWATCH_E2E_KUBECONFIG | the cluster; without it every test here is skipped |
| MEMWATCH_E2E_NAMESPACE | start of the names of the namespaces that are made (memwatch-e2e) |
| MEMWATCH_E2E_TAG | tag of memwatch's images (this version) |
| MEMWATCH_E2E_REGISTRY | put before their names (nothing) |
| MEMWATCH_E2E_PULL_POLICY | of all images (Never: they were imported by hand) |
| MEMWATCH_E2E_NODE_IMAGE | an image with node in its path (local/node:test) |
| MEMWATCH_E2E_PYTHON_IMAGE | an image with python3 in its path (local/python:test) |
| MEMWATCH_E2E_STORAGE_CLASS | of the controller's volume; usual: the cluster's default, and where it has none a folder of the node, made by a pod of the namespace `default` |
| MEMWATCH_E2E_API_SERVER | host:port of the API server for pods, where the usual address fails |
| MEMWATCH_E2E_ACCESS | clusterip: services are reached by their cluster address, for a test that runs on a node (usual); forward: by kubectl port-forward |
| MEMWATCH_E2E_HELM, MEMWATCH_E2E_KUBECTL | the programs (helm of `make test`, kubectl) |
"""  # noqa: E501  a table's row is one line

import os
from collections.abc import Mapping
from dataclasses import dataclass

from memwatch_proto import __version__
from tests.support import runtimes


@dataclass(frozen=True)
class Settings:
    """The cluster and how to use it; see the module."""

    kubeconfig: str
    namespace: str
    tag: str
    registry: str
    pull_policy: str
    node_image: str
    python_image: str
    storage_class: str
    api_server: str
    forwards: bool
    helm: str
    kubectl: str


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an environment."""

    def value(name: str, usual: str = "") -> str:
        return environ.get(f"MEMWATCH_E2E_{name}", "") or usual

    return Settings(
        kubeconfig=value("KUBECONFIG"),
        namespace=value("NAMESPACE", "memwatch-e2e"),
        tag=value("TAG", __version__),
        registry=value("REGISTRY"),
        pull_policy=value("PULL_POLICY", "Never"),
        node_image=value("NODE_IMAGE", "local/node:test"),
        python_image=value("PYTHON_IMAGE", "local/python:test"),
        storage_class=value("STORAGE_CLASS"),
        api_server=value("API_SERVER"),
        forwards=value("ACCESS", "clusterip") == "forward",
        helm=value("HELM", str(runtimes.helm() or "helm")),
        kubectl=value("KUBECTL", "kubectl"),
    )
