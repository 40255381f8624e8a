"""Where the API server is and who we are to it: the pod's service account, or a kubeconfig.

Written here and not taken from a library: the official one and its asyncio twin bring every
kind of object along for it (docs/decisions/0053-kubernetes-client.md).
"""

import base64
import binascii
import contextlib
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from memwatch_controller.cluster.errors import NoClusterError

#: Where every pod finds its service account.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: A credential program that takes longer has asked a person for something.
EXEC_SECONDS = 30

#: A kubeconfig is a page of text; a wrong file may be anything.
MAX_CONFIG_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Exec:
    """A program that prints credentials (`client.authentication.k8s.io`)."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    api_version: str = "client.authentication.k8s.io/v1"


@dataclass(frozen=True)
class Config:
    """How to reach an API server. Certificates and keys are PEM.

    Attributes:
        server: its URL.
        namespace: what is meant where none is named.
        authority: what its certificate is checked against; empty: the system's.
        insecure: whether its certificate is not checked.
        server_name: the name in its certificate, where that is not the URL's; "" where it is.
        token: bearer token; empty: none, or in `token_file`.
        token_file: holds the token and is read again, for it is renewed there.
        certificate, key: of the client; empty: none.
        user, password: for basic authentication; empty: none.
        exec: prints a token; None: none.
        in_cluster: whether it is the pod's own service account.
    """

    server: str
    namespace: str = "default"
    authority: bytes = b""
    insecure: bool = False
    server_name: str = ""
    token: str = ""
    token_file: Path | None = None
    certificate: bytes = b""
    key: bytes = b""
    user: str = ""
    password: str = ""
    exec: Exec | None = None
    in_cluster: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """How its certificate is checked, and ours shown.

        Raises:
            NoClusterError: a certificate cannot be read.
        """
        try:
            context = ssl.create_default_context(
                cadata=self.authority.decode() if self.authority else None
            )
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                _load_pair(context, self.certificate, self.key)
        except (ssl.SSLError, ValueError, OSError) as error:
            cause = f"a certificate of its settings cannot be used ({error})"
            raise NoClusterError(cause) from error
        return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Loads a client's certificate: from a file, OpenSSL knows no other way."""
    fd, path = tempfile.mkstemp(prefix="memwatch-")  # for the owner alone
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


def is_pod(environ: Mapping[str, str]) -> bool:
    """Whether this process runs in a pod that has a service account."""
    return "KUBERNETES_SERVICE_HOST" in environ and (SERVICE_ACCOUNT / "token").exists()


def load(source: str, environ: Mapping[str, str], context: str = "") -> Config:
    """The settings of a cluster.

    Args:
        source: `in-cluster`; a kubeconfig's path; or empty for the service account where this is
            a pod, else KUBECONFIG, else ~/.kube/config.
        environ: the environment.
        context: of the kubeconfig; empty: its current one.

    Raises:
        NoClusterError: there are none, or they cannot be used.
    """
    if source == "in-cluster" or (not source and is_pod(environ)):
        return in_cluster(environ, SERVICE_ACCOUNT)
    named = source or environ.get("KUBECONFIG", "") or "~/.kube/config"
    paths = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    return from_kubeconfig([path for path in paths if source or path.exists()], context)


def in_cluster(environ: Mapping[str, str], account: Path) -> Config:
    """The settings that a pod is given.

    Raises:
        NoClusterError: this is no pod, or it has no service account.
    """
    host, port = (environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not port:
        raise NoClusterError("this is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set)")
    if ":" in host:
        host = f"[{host}]"
    try:
        authority = (account / "ca.crt").read_bytes()
        (account / "token").read_bytes()
        namespace = (account / "namespace").read_text("utf-8").strip()
    except OSError as error:
        cause = f"the service account in {account} cannot be read ({error.strerror})"
        raise NoClusterError(cause) from error
    return Config(
        server=f"https://{host}:{port}",
        namespace=namespace or "default",
        authority=authority,
        token_file=account / "token",
        in_cluster=True,
    )


def from_kubeconfig(paths: Sequence[Path], context: str = "") -> Config:
    """The settings of a kubeconfig, or of several: what comes first wins.

    Raises:
        NoClusterError: none is there, or it cannot be used.
    """
    if not paths:
        raise NoClusterError("there is neither a service account nor a kubeconfig")
    clusters: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    users: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    contexts: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    current = context
    for path in paths:
        document = _document(path)
        for held, name, what in (
            (clusters, "clusters", "cluster"),
            (users, "users", "user"),
            (contexts, "contexts", "context"),
        ):
            for entry in document.get(name) or ():
                held.setdefault(str(entry.get("name")), (path, entry.get(what) or {}))
        current = current or str(document.get("current-context") or "")
    chosen = _named(contexts, "context", current)[1]
    place, cluster = _named(clusters, "cluster", str(chosen.get("cluster")))
    home, user = _named(users, "user", str(chosen["user"])) if chosen.get("user") else (place, {})
    return _config(place, cluster, home, user, str(chosen.get("namespace") or "default"))


def _document(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            document = yaml.safe_load(file.read(MAX_CONFIG_BYTES))
    except (OSError, yaml.YAMLError) as error:
        cause = getattr(error, "strerror", "") or "it is no YAML"
        raise NoClusterError(f"the kubeconfig '{path}' cannot be read ({cause})") from error
    if not isinstance(document, Mapping):
        raise NoClusterError(f"'{path}' is no kubeconfig")
    return document


def _named(
    held: Mapping[str, tuple[Path, Mapping[str, Any]]], noun: str, name: str
) -> tuple[Path, Mapping[str, Any]]:
    if name not in held:
        known = ", ".join(sorted(held)) or "none"
        raise NoClusterError(f"the kubeconfig has no {noun} '{name}'; there is {known}")
    return held[name]


def _config(
    place: Path, cluster: Mapping[str, Any], home: Path, user: Mapping[str, Any], namespace: str
) -> Config:
    server = str(cluster.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise NoClusterError(f"the kubeconfig '{place}' names no server of its cluster")
    token_file = user.get("tokenFile")
    return Config(
        server=server.rstrip("/"),
        namespace=namespace,
        authority=_pem(place, cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=str(cluster.get("tls-server-name") or ""),
        token=str(user.get("token") or ""),
        token_file=home.parent / str(token_file) if token_file else None,
        certificate=_pem(home, user, "client-certificate"),
        key=_pem(home, user, "client-key"),
        user=str(user.get("username") or ""),
        password=str(user.get("password") or ""),
        exec=_exec(home, user.get("exec")),
    )


def _pem(place: Path, holder: Mapping[str, Any], name: str) -> bytes:
    """A certificate or key, written into the kubeconfig or lying in a file named there."""
    try:
        if data := holder.get(f"{name}-data"):
            return base64.b64decode(str(data))
        if file := holder.get(name):
            return (place.parent / str(file)).read_bytes()
    except (OSError, binascii.Error) as error:
        cause = getattr(error, "strerror", "") or "it is no base64"
        raise NoClusterError(f"{name} of kubeconfig '{place}' cannot be read ({cause})") from error
    return b""


def _exec(home: Path, found: Mapping[str, Any] | None) -> Exec | None:
    if not found:
        return None
    command = str(found.get("command") or "")
    if "/" in command:  # relative to the kubeconfig, as kubectl has it
        command = str(home.parent / command)
    return Exec(
        command=command,
        args=tuple(str(arg) for arg in found.get("args") or ()),
        env={str(pair["name"]): str(pair["value"]) for pair in found.get("env") or ()},
        api_version=str(found.get("apiVersion") or Exec.api_version),
    )


def token_of(program: Exec, environ: Mapping[str, str]) -> str:
    """The token that a credential program prints. Blocks for up to `EXEC_SECONDS`.

    Raises:
        NoClusterError: it fails, or prints none.
    """
    told = {
        "apiVersion": program.api_version,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    env = {**environ, **program.env, "KUBERNETES_EXEC_INFO": json.dumps(told)}
    cause = "it prints no token"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        try:
            done = subprocess.run(
                [program.command, *program.args],
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=EXEC_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoClusterError(f"credentials by '{program.command}' failed ({error})") from error
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            cause = f"exit code {done.returncode}: {''.join(last)[:200]}"
        else:
            return str(json.loads(done.stdout)["status"]["token"])
    raise NoClusterError(f"credentials by '{program.command}' failed ({cause})")
