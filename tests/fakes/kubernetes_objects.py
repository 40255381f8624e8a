"""Of the fake Kubernetes API server: the objects, and the rules of changing them. No sockets.

Objects lie in memory with resource versions and a log of changes for watches. Each written
object is checked against the real API's schema (`kubernetes-validate --strict`), and against the
few rules of pods that memwatch depends on. Nothing runs: a test reacts to changes by `on_change`.
"""

import copy
import datetime
import threading
import uuid

import kubernetes_validate

from memwatch_controller.cluster import resources
from tests.fakes import kubernetes_patches as patches

SCHEMA = "1.36"

#: What a patch of a pod may change of its spec, as the API server has it.
_MUTABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations")


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, code, reason, message, causes=(), retry_after=None):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.causes, self.retry_after = causes, retry_after

    def status(self):
        details = {}
        if self.causes:
            details["causes"] = [{"message": text} for text in self.causes]
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }


class Objects:
    """What an API server stores. Every method may be called from any thread."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.on_change = []
        self.log = []
        self.first_version = 1
        self._version = 1
        self._held = {}
        self._reacting = False

    @property
    def version(self):
        return str(self._version)

    def get(self, resource, name, namespace=""):
        with self.changed:
            found = self._held.get(self._key(resource, namespace, name))
            if found is None:
                what = resource.plural + (f".{resource.group}" if resource.group else "")
                raise RefusedError(404, "NotFound", f'{what} "{name}" not found')
            return copy.deepcopy(found)

    def list(self, resource, namespace="", labels="", fields=""):
        with self.changed:
            return [
                copy.deepcopy(found)
                for (plural, place, _), found in sorted(self._held.items())
                if plural == (resource.group, resource.plural)
                and (not namespace or place == namespace)
                and selected(found, labels, fields)
            ]

    def create(self, resource, body, namespace="", dry_run=False):
        """Stores a new object; what the server sets itself is set."""
        with self.changed:
            made = copy.deepcopy(body)
            about = made.setdefault("metadata", {})
            if not about.get("name") and about.get("generateName"):
                about["name"] = about["generateName"] + uuid.uuid4().hex[:5]
            place = namespace or "default"
            if resource.namespaced and about.setdefault("namespace", place) != place:
                raise RefusedError(400, "BadRequest", "the namespace is not that of the request")
            key = self._key(resource, about.get("namespace", ""), about.get("name", ""))
            if key in self._held:
                what = f'{resource.plural} "{about["name"]}" already exists'
                raise RefusedError(409, "AlreadyExists", what)
            about.setdefault("uid", str(uuid.uuid4()))
            about.setdefault("creationTimestamp", _now())
            about.setdefault("generation", 1)
            if resource is resources.PODS and "status" not in made:
                made["status"] = {"phase": "Pending", "conditions": []}
            check(made)
            return self._store("ADDED", key, made, dry_run)

    def put(self, body):
        """For tests: an object there, whatever was there before; its status is kept as given."""
        resource = resource_of(body)
        about = body.get("metadata", {})
        with self.changed:
            namespace = about.get("namespace", "default") if resource.namespaced else ""
            if self._key(resource, namespace, about["name"]) in self._held:
                old = self.get(resource, about["name"], namespace)
                made = copy.deepcopy(body)
                kept = {k: old["metadata"][k] for k in ("uid", "creationTimestamp", "generation")}
                made["metadata"] = {**kept, "namespace": namespace, **made["metadata"]}
                check(made)
                return self._store("MODIFIED", self._key(resource, namespace, about["name"]), made)
            return self.create(resource, body, namespace)

    def replace(self, resource, name, body, namespace="", subresource="", dry_run=False):
        with self.changed:
            old = self.get(resource, name, namespace)
            return self._change(resource, old, copy.deepcopy(body), subresource, dry_run)

    def patch(self, resource, name, body, namespace="", how="merge", subresource="", dry_run=False):
        with self.changed:
            old = self.get(resource, name, namespace)
            try:
                new = getattr(patches, how)(copy.deepcopy(old), body)
            except ValueError as error:
                raise RefusedError(
                    422, "Invalid", f"the patch cannot be applied: {error}"
                ) from error
            if how != "json_patch":
                told = (body.get("metadata") or {}).get("resourceVersion")
                new["metadata"]["resourceVersion"] = told or old["metadata"]["resourceVersion"]
            return self._change(resource, old, new, subresource, dry_run)

    def delete(self, resource, name, namespace="", options=None, dry_run=False):
        with self.changed:
            old = self.get(resource, name, namespace)
            for key, value in ((options or {}).get("preconditions") or {}).items():
                if old["metadata"].get(key) != value:
                    what = f"Precondition failed: {key} in precondition: {value}"
                    raise RefusedError(409, "Conflict", what)
            self._store("DELETED", self._key(resource, namespace, name), old, dry_run)
            return old

    def evict(self, name, namespace, options=None, dry_run=False):
        """Deletes a pod, unless one of its disruption budgets has nothing left."""
        with self.changed:
            pod = self.get(resources.PODS, name, namespace)
            for budget in self.list(resources.DISRUPTION_BUDGETS, namespace):
                wanted = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
                labels = pod["metadata"].get("labels") or {}
                left = (budget.get("status") or {}).get("disruptionsAllowed", 0)
                if wanted.items() <= labels.items() and left < 1:
                    cause = f"The disruption budget {budget['metadata']['name']} needs all its pods"
                    message = "Cannot evict pod as it would violate the pod's disruption budget."
                    raise RefusedError(429, "TooManyRequests", message, [cause])
            return self.delete(resources.PODS, name, namespace, options, dry_run)

    def forget_before_now(self):
        """The log of changes is cut: who watches from before gets 410 Gone."""
        with self.changed:
            self.log.clear()
            self.first_version = self._version + 1

    def _change(self, resource, old, new, subresource, dry_run):
        about = new.setdefault("metadata", {})
        told = about.get("resourceVersion")
        if told and told != old["metadata"]["resourceVersion"]:
            message = (
                f'Operation cannot be fulfilled on {resource.plural} "{old["metadata"]["name"]}": '
                "the object has been modified; please apply your changes to the latest version "
                "and try again"
            )
            raise RefusedError(409, "Conflict", message)
        for name in ("uid", "creationTimestamp", "name", "namespace"):
            if name in old["metadata"]:
                about[name] = old["metadata"][name]
        made = _limited(old, new, subresource)
        if resource is resources.PODS:
            _check_pod(old, made, subresource)
        check(made)
        if made == old:
            return copy.deepcopy(old)
        return self._store("MODIFIED", self._key(resource, *_place(made)), made, dry_run)

    def _store(self, kind, key, made, dry_run=False):
        if dry_run:
            return copy.deepcopy(made)
        self._version += 1
        made["metadata"]["resourceVersion"] = self.version
        if kind == "DELETED":
            self._held.pop(key, None)
        else:
            self._held[key] = made
        self.log.append((self._version, kind, key, copy.deepcopy(made)))
        self.changed.notify_all()
        for react in list(self.on_change):
            react(kind, copy.deepcopy(made))
        return copy.deepcopy(made)

    @staticmethod
    def _key(resource, namespace, name):
        return (resource.group, resource.plural), namespace if resource.namespaced else "", name


def _place(made):
    return made["metadata"].get("namespace", ""), made["metadata"]["name"]


def _limited(old, new, subresource):
    """What of a change counts: a subresource changes its part only, the object all but status."""
    made = copy.deepcopy(old)
    if subresource == "status":
        if "status" in new:
            made["status"] = new["status"]
        return made
    if subresource == "ephemeralcontainers":
        found = (new.get("spec") or {}).get("ephemeralContainers")
        if found is not None:
            made["spec"]["ephemeralContainers"] = found
        return made
    made = {**new}
    made.pop("status", None)
    if "status" in old:
        made["status"] = copy.deepcopy(old["status"])
    return made


def _check_pod(old, new, subresource):
    """The rules of a running pod that memwatch meets."""
    before, after = old["spec"], new["spec"]
    if subresource == "ephemeralcontainers":
        there = {c["name"]: c for c in before.get("ephemeralContainers") or ()}
        now = {c["name"]: c for c in after.get("ephemeralContainers") or ()}
        if len(now) != len(after.get("ephemeralContainers") or ()):
            raise _invalid(new, "spec.ephemeralContainers: Duplicate value")
        if any(now.get(name) != container for name, container in there.items()):
            raise _invalid(
                new,
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers "
                "may not be removed or changed",
            )
        names = [c["name"] for c in [*before["containers"], *(before.get("initContainers") or ())]]
        for name in set(now) - set(there):
            _check_ephemeral(new, now[name], names)
        return
    fixed = [
        {
            key: [{k: v for k, v in c.items() if k != "image"} for c in value]
            if key in ("containers", "initContainers")
            else value
            for key, value in spec.items()
            if key not in _MUTABLE
        }
        for spec in (before, after)
    ]
    if fixed[0] != fixed[1]:
        raise _invalid(
            new,
            "spec: Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`, …",
        )


def _check_ephemeral(pod, container, names):
    """What an ephemeral container must not have."""
    if container["name"] in names:
        raise _invalid(pod, f"spec.ephemeralContainers: Duplicate value: {container['name']}")
    target = container.get("targetContainerName")
    if target and target not in names:
        raise _invalid(pod, f'targetContainerName: Not found: "{target}"')
    for field in ("resources", "ports", "livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(field):
            message = f"spec.ephemeralContainers.{field}: Forbidden: cannot be set"
            raise _invalid(pod, f"{message} for an Ephemeral Container")
    if any("subPath" in mount for mount in container.get("volumeMounts") or ()):
        raise _invalid(pod, "volumeMounts.subPath: Forbidden: cannot be set for an Ephemeral")


def _invalid(pod, what):
    name = pod["metadata"]["name"]
    return RefusedError(422, "Invalid", f'Pod "{name}" is invalid: {what}')


def check(made):
    """The schema of the real API, unknown fields forbidden.

    Raises:
        RefusedError: the object is none of it.
    """
    try:
        kubernetes_validate.validate(made, SCHEMA, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = "/".join(str(part) for part in error.path)
        raise RefusedError(
            422, "Invalid", f"{made.get('kind')}: {where}: {error.message}"
        ) from error


def resource_of(body):
    """The kind of an object."""
    for resource in resources.ALL:
        if (resource.api_version, resource.kind) == (body.get("apiVersion"), body.get("kind")):
            return resource
    raise KeyError(f"the fake has no {body.get('apiVersion')} {body.get('kind')}")


def selected(found, labels, fields):
    """Whether an object is what selectors say (`a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`)."""
    held = found["metadata"].get("labels") or {}
    return all(_matches(held, term) for term in _terms(labels)) and all(
        _field(found, term) for term in _terms(fields)
    )


def _terms(text):
    depth, term = 0, ""
    for letter in text + ",":
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            if term.strip():
                yield term.strip()
            term = ""
        else:
            term += letter


def _matches(held, term):
    for word, wanted in ((" notin ", False), (" in ", True)):
        if word in term:
            key, values = term.split(word, 1)
            allowed = [value.strip() for value in values.strip(" ()").split(",")]
            return (held.get(key.strip()) in allowed) is wanted
    if "!=" in term:
        key, value = term.split("!=", 1)
        return held.get(key) != value
    if "=" in term:
        key, value = term.replace("==", "=").split("=", 1)
        return held.get(key) == value
    return term[1:] not in held if term.startswith("!") else term in held


def _field(found, term):
    wanted = "!=" not in term
    path, value = term.split("!=" if not wanted else "=", 1)
    for part in path.split("."):
        found = (found or {}).get(part)
    return ((found or "") == value.lstrip("=")) is wanted


def _now():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
