"""A volume for the controller in a cluster that has no storage class: a folder of its one node."""

from typing import Any

#: The claim that the chart's StatefulSet makes.
CLAIM = "data-memwatch-controller-0"

_OPEN = "import os; os.chmod('/data', 0o1777)"


def manifests(mark: str, namespace: str, image: str, pull_policy: str) -> list[dict[str, Any]]:
    """The volume, kept for the claim of a namespace; and a pod that opens its folder to all uids.

    A kubelet makes a hostPath's folder for root alone, and gives it to no fsGroup.
    """
    name, host = f"memwatch-e2e-{mark}", {"path": f"/var/lib/memwatch-e2e-{mark}"}
    folder = {"hostPath": {**host, "type": "DirectoryOrCreate"}}
    volume = {
        "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"namespace": namespace, "name": CLAIM},
        **folder,
    }
    opener = {
        "name": "open",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["/opt/memwatch/bin/python", "-I", "-c", _OPEN],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [opener],
        "volumes": [{"name": "data", **folder}],
    }
    about = {"name": name}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": about, "spec": volume},
        {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec},
    ]


def has_default(classes: list[Any]) -> bool:
    """Whether one of a cluster's storage classes is used where none is named."""
    mark = "storageclass.kubernetes.io/is-default-class"
    return any((one["metadata"].get("annotations") or {}).get(mark) == "true" for one in classes)
