"""A FAKE Kubernetes API server over a real socket: it stores objects and runs nothing.

It speaks the API's own paths, lists in pages, watches, patches and errors, checks every object
that is written against the real schema, and can be told to misbehave (`Faults`). What it proves
is that memwatch speaks the API as its schema and its rules have it; what a kubelet, a scheduler
and the controllers would do, a test has to play by `objects.on_change`. The real thing is
tests/e2e/cluster.
"""

import contextlib
import json
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from memwatch_controller.cluster import resources
from tests.fakes.kubernetes_objects import Objects, RefusedError, check, selected

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake"}

_KINDS = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json_patch",
}
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Faults:
    """How the fake misbehaves.

    Attributes:
        forbidden: (verb, resource with its subresource) that roles refuse; ("*", "pods") is all.
        named: (verb, resource, namespace) that roles allow for one object by its name alone: a
            review that names none is refused.
        failing: answers that are given instead, one a call: (HTTP status, retry-after or None).
        slow_seconds: every answer waits so long.
        cut_watches_after: a watch's connection breaks after so many events; None: never.
        drop_after: a call's connection breaks after the change was made, before the answer; so
            many times.
    """

    forbidden: set[tuple[str, str]] = field(default_factory=set)
    named: set[tuple[str, str, str]] = field(default_factory=set)
    failing: list[tuple[int, float | None]] = field(default_factory=list)
    slow_seconds: float = 0
    cut_watches_after: int | None = None
    drop_after: int = 0


class FakeKubernetes:
    """A running fake. `objects` is what it stores, `calls` what it was asked."""

    def __init__(self, tls=None, token="", client_ca=None):
        self.objects = Objects()
        self.faults = Faults()
        self.calls = []
        self.token = token
        self.stopping = threading.Event()
        fake = self

        class Handler(_Handler):
            pass

        Handler.fake = fake
        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.tls = tls
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            if client_ca:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        with self.objects.changed:
            self.objects.changed.notify_all()
        self._server.shutdown()
        self._server.close_all()
        self._server.server_close()

    def kubeconfig(self, folder, **user):
        """Writes a kubeconfig that names this server; its path."""
        cluster = {"server": self.url}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "contexts": [
                {"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": "shop"}}
            ],
            "users": [{"name": "me", "user": user or {"token": self.token or "any"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    def close_connections(self):
        """Every connection breaks now."""
        self._server.close_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments):
        self.open_sockets = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.open_sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open_sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass  # connections that break are what this server is for

    def close_all(self):
        for open_socket in list(self.open_sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    fake: "FakeKubernetes"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  the names that it looks for

    def _serve(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            self._check(url.path)
            answer = self._answer(url.path, query, body)
        except RefusedError as refused:
            self._send(refused.code, refused.status(), refused.retry_after)
            return
        if answer is not None:
            if self.command != "GET" and self.fake.faults.drop_after:
                self.fake.faults.drop_after -= 1
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._send(201 if self.command == "POST" else 200, answer)

    def _check(self, path):
        faults = self.fake.faults
        if faults.slow_seconds:
            self.fake.stopping.wait(faults.slow_seconds)
        if self.fake.token and self.headers.get("authorization") != f"Bearer {self.fake.token}":
            raise RefusedError(401, "Unauthorized", "Unauthorized")
        if faults.failing:
            code, retry_after = faults.failing.pop(0)
            raise RefusedError(code, "", f"the fake fails with {code}", retry_after=retry_after)

    def _answer(self, path, query, body):
        if path == "/version":
            return VERSION
        if found := _discovered(path):
            return found
        match = _PATH.fullmatch(path)
        resource = _resource(match) if match else None
        if not match or not resource or (not resource.namespaced and match["namespace"]):
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        namespace, name = unquote(match["namespace"] or ""), unquote(match["name"] or "")
        sub = match["sub"] or ""
        verb = _VERBS.get(self.command) or (
            "get" if name else "watch" if query.get("watch") else "list"
        )
        right = f"{resource.plural}/{sub}" if sub else resource.plural
        self.fake.calls.append((verb, right, namespace, name, query))
        self._allow(verb, right, namespace)
        if verb == "watch":
            self._watch(resource, namespace, query)
            return None
        return self._act(verb, resource, namespace, name, sub, query, body)

    def _allow(self, verb, right, namespace):
        if {(verb, right), ("*", right)} & self.fake.faults.forbidden:
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            message = (
                f'{right} is forbidden: User "system:serviceaccount:memwatch:memwatch" cannot '
                f'{verb} resource "{right}" in API group "" {where}'
            )
            raise RefusedError(403, "Forbidden", message)

    def _act(self, verb, resource, namespace, name, sub, query, body):
        objects, dry = self.fake.objects, query.get("dryRun") == "All"
        if verb == "get":
            return objects.get(resource, name, namespace)
        if verb == "list":
            return self._list(resource, namespace, query)
        try:
            sent = json.loads(body) if body else {}
        except ValueError as error:
            raise RefusedError(400, "BadRequest", "the body is no JSON") from error
        if verb == "delete":
            objects.delete(resource, name, namespace, sent, dry)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if resource is resources.ACCESS_REVIEWS:
            return self._review(sent)
        if verb == "create" and sub == "eviction":
            check(sent)
            objects.evict(name, namespace, sent.get("deleteOptions"), dry)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if verb == "create":
            return objects.create(resource, sent, namespace, dry)
        if verb == "update":
            return objects.replace(resource, name, sent, namespace, sub, dry)
        how = _KINDS.get(self.headers.get("content-type", ""))
        if how is None:
            raise RefusedError(
                415, "UnsupportedMediaType", "the body of the request was in an unknown"
            )
        return objects.patch(resource, name, sent, namespace, how, sub, dry)

    def _list(self, resource, namespace, query):
        objects = self.fake.objects
        with objects.changed:
            found = objects.list(
                resource, namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
            )
            version = objects.version
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        page = found[start : start + limit] if limit else found
        about = {"resourceVersion": version}
        if limit and start + limit < len(found):
            about["continue"] = str(start + limit)
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": about,
            "items": page,
        }

    def _review(self, sent):
        check(sent)
        asked = sent["spec"]["resourceAttributes"]
        right = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
        denied = {(asked["verb"], right), ("*", right)} & self.fake.faults.forbidden
        one = (asked["verb"], right, asked.get("namespace", ""))
        too_wide = not asked.get("name") and one in self.fake.faults.named
        return {**sent, "metadata": {}, "status": {"allowed": not denied and not too_wide}}

    def _watch(self, resource, namespace, query):
        objects = self.fake.objects
        since = int(query.get("resourceVersion") or 0)
        with objects.changed:
            expired = since and since + 1 < objects.first_version
        if expired:
            raise RefusedError(410, "Expired", f"too old resource version: {since}")
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        told = 0
        with contextlib.suppress(OSError):
            for kind, made in self._events(resource, namespace, since, query):
                if told == self.fake.faults.cut_watches_after:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._chunk(json.dumps({"type": kind, "object": made}).encode() + b"\n")
                told += 1
            self._chunk(b"")

    def _events(self, resource, namespace, since, query):
        objects = self.fake.objects
        plural = (resource.group, resource.plural)
        while not self.fake.stopping.is_set():
            with objects.changed:
                news = [entry for entry in objects.log if entry[0] > since]
                if not news:
                    objects.changed.wait(0.5)
                    continue
            for version, kind, key, made in news:
                since = version
                fits = selected(
                    made, query.get("labelSelector", ""), query.get("fieldSelector", "")
                )
                if key[0] == plural and (not namespace or key[1] == namespace) and fits:
                    yield kind, made

    def _chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send(self, code, document, retry_after=None):
        packed = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(packed)))
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(packed)
            self.wfile.flush()


def _discovered(path):
    """What a client is told that asks which kinds there are, such as kubectl; None elsewhere."""
    groups = sorted({(r.group, r.version) for r in resources.ALL if r.group})
    if path.startswith("/openapi/v3"):
        return _validates(path.removeprefix("/openapi/v3").strip("/"))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*g) for g in groups]}
    roots = {f"/apis/{group}/{version}": f"{group}/{version}" for group, version in groups}
    version = {"/api/v1": "v1", **roots}.get(path)
    if version is None:
        return None
    kinds = [r for r in resources.ALL if r.api_version == version]
    listed = [
        {
            "name": r.plural,
            "singularName": r.kind.lower(),
            "namespaced": r.namespaced,
            "kind": r.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }
        for r in kinds
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": listed,
    }


def _validates(root):
    """Of the API's description what kubectl reads before it sends objects: the server checks."""
    places = {r.path().rpartition("/")[0].strip("/") for r in resources.ALL}
    if not root:
        return {"paths": {one: {"serverRelativeURL": f"/openapi/v3/{one}"} for one in places}}
    paths = {}
    for r in resources.ALL:
        if r.path().strip("/").startswith(f"{root}/"):
            kind = {"group": r.group, "version": r.version, "kind": r.kind}
            parameters = [{"name": "fieldValidation", "in": "query"}]
            patch = {"x-kubernetes-group-version-kind": kind, "parameters": parameters}
            paths[f"{r.path()}/{{name}}"] = {"patch": {**patch, "responses": {}}}
    about = {"title": "a fake", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": about, "paths": paths}


def _group(group, version):
    told = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [told], "preferredVersion": told}


def _resource(match):
    wanted = (match["group"] or "", match["version"], match["plural"])
    known = {(r.group, r.version, r.plural): r for r in resources.ALL}
    return known.get(wanted)


def pod(name, namespace="shop", **more):
    """A small Running pod of one container; `labels`, `containers`, `spec`, `uid`, `owner`."""
    containers = more.get("containers") or [{"name": "app", "image": "registry.example/app:1"}]
    about = {"name": name, "namespace": namespace, "labels": more.get("labels") or {}}
    for key in ("uid", "creationTimestamp", "annotations"):
        if key in more:
            about[key] = more[key]
    if "owner" in more:
        about["ownerReferences"] = [owner(more["owner"])]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": about,
        "spec": {"nodeName": "node-1", "containers": containers, **more.get("spec", {})},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": more.get("ready", "True")}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": True,
                    "restartCount": 0,
                    "containerID": f"containerd://{container['name']}",
                    "state": {"running": {"startedAt": "2026-11-22T06:00:00Z"}},
                }
                for container in containers
            ],
        },
    }


def workload(kind, name, namespace="shop", **more):
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet with `labels` as its selector."""
    labels = more.get("labels") or {"app": name}
    about = {"name": name, "namespace": namespace, "labels": labels}
    if "owner" in more:
        about["ownerReferences"] = [owner(more["owner"])]
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template, **more.get("spec", {})}
    if kind != "DaemonSet":
        spec.setdefault("replicas", more.get("replicas", 2))
    if kind == "StatefulSet":
        spec.setdefault("serviceName", name)
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": about, "spec": spec}


def owner(held):
    """The ownerReference of an object that the fake holds."""
    return {
        "apiVersion": held["apiVersion"],
        "kind": held["kind"],
        "name": held["metadata"]["name"],
        "uid": held["metadata"]["uid"],
        "controller": True,
    }
