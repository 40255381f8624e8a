"""What the webhook is told at its start: flags, each with a twin in the environment."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memwatch_controller import flags
from memwatch_controller.errors import StartError
from memwatch_controller.flags import LOG_LEVELS, Parser, address_of, choice_of, number_of
from memwatch_controller.injection.certificates import Keeping
from memwatch_controller.injection.parts import Settings as Injection
from memwatch_controller.injection.reviews import SYSTEM_NAMESPACES
from memwatch_proto import __version__

ENV_PREFIX = "MEMWATCH_WEBHOOK_"


@dataclass(frozen=True)
class WebhookSettings:
    """The webhook's settings, checked.

    Attributes:
        listen: "host:port" of the HTTPS server.
        tls_cert, tls_key: its certificate; taken up anew when their files change.
        keeping: where the certificate is made and kept; None: somebody else writes the files.
        excluded: namespaces whose pods are never changed.
        namespaces: of services, where readiness gates are looked after; none: all.
        injection: what pods get.
    """

    listen: str
    tls_cert: Path
    tls_key: Path
    keeping: Keeping | None
    excluded: frozenset[str]
    namespaces: tuple[str, ...]
    log_level: str
    injection: Injection


_FLAGS = (
    ("listen", "ADDR", "host:port of the HTTPS server", "0.0.0.0:9443"),
    ("tls-cert", "FILE", "its certificate (PEM), taken up anew when it changes", ""),
    ("tls-key", "FILE", "the certificate's key", ""),
    ("certificate-secret", "NAME", "instead: secret in which it keeps one of its making", ""),
    ("certificate-dir", "DIR", "where it writes that for itself", "/run/memwatch"),
    ("configuration", "NAME", "the MutatingWebhookConfiguration that is told who signed it", ""),
    ("service", "NAME", "the webhook's service, which that certificate is for", ""),
    ("controller", "ADDR", "host:port that agents register with", ""),
    ("agent-image", "IMAGE", "the agent's image", f"memwatch/agent:{__version__}"),
    ("init-image", "IMAGE", "the image that copies the hooks", f"memwatch/init:{__version__}"),
    ("pull-policy", "POLICY", "Always, IfNotPresent or Never", "IfNotPresent"),
    ("token-secret", "NAME", "secret of the pod's namespace with the token", "memwatch-token"),
    ("token-key", "KEY", "the token's key in it", "token"),
    ("sidecar", "KIND", "native (Kubernetes 1.29 and later) or classic", "native"),
    ("spool-size", "QUANTITY", "room for snapshots in each pod", "4Gi"),
    ("fallback-user", "UID", "the agent's uid where a pod names none; -1: its image's", "-1"),
    ("readiness-gates", "SWITCH", "on: pods that ask get one, and it is looked after here", "off"),
    ("namespaces", "NAMES", "the only ones whose gates are looked after, by comma; none: all", ""),
    ("exclude", "NAMES", "namespaces besides kube-system that are left alone, by comma", ""),
    ("log-level", "LEVEL", f"one of {', '.join(LOG_LEVELS)}", "info"),
)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> WebhookSettings:
    """The settings of a command line (without `webhook`) and an environment.

    Raises:
        StartError: a value that cannot be used.
        SystemExit: `--help`, or a flag that does not exist.
    """
    given = _parser().parse_args(argv)
    value = flags.reader(given, _FLAGS, environ, ENV_PREFIX)
    user = int(number_of("--fallback-user", value("fallback_user"), -1, 2**31))
    injection = Injection(
        version=__version__,
        agent_image=_needed("--agent-image", value("agent_image")),
        init_image=_needed("--init-image", value("init_image")),
        controller=address_of("--controller", _needed("--controller", value("controller"))),
        pull_policy=flags.pull_policy_of("--pull-policy", value("pull_policy")),
        token_secret=_needed("--token-secret", value("token_secret")),
        token_key=_needed("--token-key", value("token_key")),
        native_sidecar=choice_of("--sidecar", value("sidecar"), ("native", "classic")) == "native",
        spool_size=_needed("--spool-size", value("spool_size")),
        fallback_user=None if user < 0 else user,
        gates=choice_of("--readiness-gates", value("readiness_gates"), ("on", "off")) == "on",
    )
    own = environ.get("POD_NAMESPACE", "")
    keeping = _keeping(value, own)
    cert, key = _files(value, keeping)
    excluded = {*SYSTEM_NAMESPACES, own, *value("exclude").split(",")} - {""}
    return WebhookSettings(
        listen=address_of("--listen", value("listen")),
        tls_cert=cert,
        tls_key=key,
        keeping=keeping,
        excluded=frozenset(name.strip() for name in excluded),
        namespaces=flags.namespaces_of("--namespaces", value("namespaces")),
        log_level=choice_of("--log-level", value("log_level"), LOG_LEVELS),
        injection=injection,
    )


def _keeping(value: Callable[[str], str], namespace: str) -> Keeping | None:
    """Where the certificate is kept, where the webhook makes it."""
    if not value("certificate_secret"):
        return None
    if not namespace:
        raise StartError("--certificate-secret", "POD_NAMESPACE is not set; set it to ours")
    return Keeping(
        namespace=namespace,
        secret=value("certificate_secret"),
        configuration=_needed("--configuration", value("configuration")),
        service=_needed("--service", value("service")),
    )


def _files(value: Callable[[str], str], keeping: Keeping | None) -> tuple[Path, Path]:
    """The certificate's files: given, or where we write them."""
    if keeping:
        folder = Path(_needed("--certificate-dir", value("certificate_dir")))
        return folder / "tls.crt", folder / "tls.key"
    cert = _needed("--tls-cert", value("tls_cert"))
    return Path(cert), Path(_needed("--tls-key", value("tls_key")))


def _needed(name: str, text: str) -> str:
    if not text.strip():
        raise StartError(name, "it is missing; pass it, or set its twin in the environment")
    return text.strip()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="memwatch-controller webhook",
        description="Adds the agent to pods with the annotation memwatch.dev/inject: "
        "a mutating admission webhook of Kubernetes, which changes nothing else.",
        epilog=f"Every flag has a twin {ENV_PREFIX}<FLAG>. The namespace of POD_NAMESPACE is left "
        "alone.",
    )
    flags.declare(parser, _FLAGS)
    return parser
