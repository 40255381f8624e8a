"""Plays what a cluster's own controllers do to one Deployment and its service; a fake says so.

On every change of the fake API server's objects the ReplicaSet releases and adopts pods by their
labels, starts and ends pods until it has its number, pods get Ready (with their gate), and the
EndpointSlice of the service tells who serves. Real controllers do it later; here it is at once,
unless `starts` is off: then new pods stay unready.
"""

from memwatch_controller.cluster import isolation_gate as gate
from memwatch_controller.cluster import resources
from tests.fakes.kubernetes import pod, workload

HASH = {"app": "web", "pod-template-hash": "7d9f"}


class Shop:
    """A Deployment `web` in namespace `shop`, behind a service of the same name.

    Attributes:
        gaps: how many pods served after each change; a service is whole while it is never less.
        starts: whether new pods get ready.
    """

    def __init__(self, fake, replicas=2, gated=False, kind="ReplicaSet", max_unavailable=1):
        self.objects, self.gated, self.starts = fake.objects, gated, True
        self.gaps, self.made, self.replicas = [], 0, replicas
        rolling = {"maxUnavailable": max_unavailable, "maxSurge": 1}
        strategy = {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
        deployment = self.objects.put(
            workload("Deployment", "web", replicas=replicas, labels={"app": "web"}, spec=strategy)
        )
        self.owner = self.objects.put(
            workload(kind, "web-7d9f", replicas=replicas, labels=HASH, owner=deployment)
        )
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        about = {"name": "web", "namespace": "shop"}
        self.objects.put({"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec})
        self.settle()
        self.objects.on_change.append(self._changed)

    def pods(self):
        return self.objects.list(resources.PODS, "shop")

    def serving(self):
        """Names of the pods that the EndpointSlice has ready."""
        (found,) = self.objects.list(resources.ENDPOINT_SLICES, "shop")
        return {
            endpoint["targetRef"]["name"]
            for endpoint in found["endpoints"]
            if endpoint["conditions"]["ready"]
        }

    def _changed(self, kind, made):
        if made["kind"] == "Pod":
            self.settle()

    def settle(self):
        reacting, self.objects.on_change = self.objects.on_change, []
        try:
            for found in self.pods():
                self._own(found)
            self._scale()
            for found in self.pods():
                self._ready(found)
            self._endpoints()
        finally:
            self.objects.on_change = reacting

    def _own(self, found):
        labels = found["metadata"].get("labels") or {}
        owners = found["metadata"].get("ownerReferences") or []
        if HASH.items() <= labels.items() and not owners:
            owners = [self._reference()]
        elif owners and not HASH.items() <= labels.items():
            owners = []
        if owners != (found["metadata"].get("ownerReferences") or []):
            found["metadata"]["ownerReferences"] = owners
            self._write(found)

    def _reference(self):
        about = self.owner["metadata"]
        return {
            "apiVersion": "apps/v1",
            "kind": self.owner["kind"],
            "name": about["name"],
            "uid": about["uid"],
            "controller": True,
        }

    def _scale(self):
        owned = [p for p in self.pods() if p["metadata"].get("ownerReferences")]
        for _ in range(self.replicas - len(owned)):
            self.made += 1
            made = pod(f"web-7d9f-{self.made}", labels=dict(HASH), ready="False")
            made["metadata"]["ownerReferences"] = [self._reference()]
            if self.gated:
                made["spec"]["readinessGates"] = [{"conditionType": gate.CONDITION}]
            self.objects.put(made)
            if self.gated:
                self._status(made["metadata"]["name"], gate.in_rotation(1_795_353_600_000))
        for extra in sorted(owned, key=_rank)[: max(0, len(owned) - self.replicas)]:
            self.objects.delete(resources.PODS, extra["metadata"]["name"], "shop")

    def _ready(self, found):
        name = found["metadata"]["name"]
        condition = gate.condition_of(found)
        held = gate.has_gate(found) and (condition is None or condition["status"] != "True")
        if not self.starts and not _is_ready(found):
            status = ("False", "containers with unready status: [app]")
        else:
            status = (
                ("False", "the status of pod readiness gate is not True") if held else ("True", "")
            )
        ready = {"type": "Ready", "status": status[0], "message": status[1]}
        self._status(name, {"status": {"conditions": [ready]}})

    def _status(self, name, body):
        self.objects.patch(resources.PODS, name, body, "shop", "strategic", "status")

    def _endpoints(self):
        endpoints, serving = [], 0
        for found in self.pods():
            if (found["metadata"].get("labels") or {}).get("app") != "web":
                continue
            about, ready = found["metadata"], _is_ready(found)
            reference = {"kind": "Pod", "name": about["name"], "uid": about["uid"]}
            endpoints.append(
                {"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": reference}
            )
            serving += ready
        self.gaps.append(serving)
        self.objects.put(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "web-abc", "namespace": "shop"},
                "addressType": "IPv4",
                "endpoints": endpoints,
            }
        )
        owned = [p for p in self.pods() if p["metadata"].get("ownerReferences")]
        ready = sum(_is_ready(p) for p in owned)
        for resource, name in (
            (resources.REPLICA_SETS, "web-7d9f"),
            (resources.DEPLOYMENTS, "web"),
        ):
            if resource is resources.REPLICA_SETS and self.owner["kind"] != "ReplicaSet":
                resource = resources.STATEFUL_SETS
            status = {"status": {"replicas": len(owned), "readyReplicas": ready}}
            self.objects.patch(resource, name, status, "shop", "merge", "status")

    def _write(self, found):
        found["metadata"].pop("resourceVersion", None)
        name = found["metadata"]["name"]
        self.objects.replace(resources.PODS, name, found, "shop")


def _is_ready(found):
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in found["status"]["conditions"]
    )


def _rank(found):
    """Which pod a ReplicaSet ends first: unready ones, then by their cost."""
    annotations = found["metadata"].get("annotations") or {}
    cost = int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))
    return _is_ready(found), cost, found["metadata"]["name"]
