"""What a controller is told at its start: flags, each with a twin in the environment."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memwatch_controller import flags
from memwatch_controller.cluster.attaching import Attaching
from memwatch_controller.errors import StartError
from memwatch_controller.flags import LOG_LEVELS, Parser, address_of, choice_of, number_of
from memwatch_controller.store.retention import Policy

ENV_PREFIX = "MEMWATCH_CONTROLLER_"

#: What the chart and the webhook call the secret of a namespace that holds the agents' token.
SECRET = "memwatch-token"

_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+")


@dataclass(frozen=True)
class Settings:
    """A controller's settings, checked.

    Attributes:
        listen: "host:port" or "unix:/path" of the gRPC server.
        http_listen: the same of the HTTP server; empty: none.
        data_dir: holds the token, and the databases and blobs that have no other place.
        database_url: of the metadata; empty: SQLite in `data_dir`.
        blob_url: where snapshots are stored; empty: a folder in `data_dir`.
        token: the bearer token, where the environment holds it.
        token_file: holds the bearer token, and is made where it does not exist.
        no_auth: whether every caller is let in.
        tls_cert, tls_key: certificate of both servers; None: plain.
        tls_ca: certificates that agents' are checked against; None: agents are dialled plain.
        heartbeat_seconds: how often agents say that they live.
        retry_seconds: how long a session tries again where an agent does not answer.
        wait_seconds: how long another controller of the same database has to end.
        max_sessions: sessions that are open at once.
        max_captures: snapshots that are taken at once, and as many profiles.
        max_captures_per_service: of one service's replicas, never all; 0: half of them.
        profile_days: older profiles are deleted; 0: never.
        analysis_workers: comparisons that run at once; 0: workers do them.
        analysis_memory_mib: memory of one of them; 0: three quarters of the machine's.
        analysis_seconds: time of one of them.
        keep: which snapshots are kept.
        cluster: where the Kubernetes API is: `auto` (the service account where this is a pod),
            `off`, `in-cluster`, or a kubeconfig's path.
        namespaces: of services, the only ones that may be read; none: all.
        webhook_name: of the MutatingWebhookConfiguration that a diagnosis looks at.
        attaching: what an agent that is put into a running pod is like.
        host: name of this host or pod.
    """

    listen: str
    http_listen: str
    data_dir: Path
    database_url: str
    blob_url: str
    token: str
    token_file: Path
    no_auth: bool
    tls_cert: Path | None
    tls_key: Path | None
    tls_ca: Path | None
    log_level: str
    heartbeat_seconds: float
    retry_seconds: float
    wait_seconds: float
    max_sessions: int
    max_captures: int
    max_captures_per_service: int
    profile_days: int
    analysis_workers: int
    analysis_memory_mib: int
    analysis_seconds: float
    keep: Policy
    cluster: str
    namespaces: tuple[str, ...]
    webhook_name: str
    attaching: Attaching
    host: str


_FLAGS = (
    ("listen", "ADDR", "host:port or unix:/path of the gRPC server", "127.0.0.1:9466"),
    ("http-listen", "ADDR", "the same of the HTTP server, or 'off'", "127.0.0.1:9467"),
    ("data-dir", "DIR", "holds the token, the database and the snapshots", ""),
    ("database-url", "URL", "sqlite:///FILE or postgresql://… (SQLite in the data directory)", ""),
    ("blob-url", "URL", "where snapshots are stored (a folder of the data directory)", ""),
    ("token-file", "FILE", "file with the bearer token, made if need be (DATA-DIR/token)", ""),
    ("tls-cert", "FILE", "certificate of both servers", ""),
    ("tls-key", "FILE", "its key", ""),
    ("tls-ca", "FILE", "certificates that those of agents are checked against", ""),
    ("log-level", "LEVEL", f"one of {', '.join(LOG_LEVELS)}", "info"),
    ("heartbeat-seconds", "N", "how often agents say that they live", "5"),
    ("retry-seconds", "N", "how long a session tries an agent that does not answer", "300"),
    ("wait-seconds", "N", "how long to wait for another controller of this database to end", "30"),
    ("max-sessions", "N", "sessions that are open at once", "2000"),
    ("analysis-workers", "N", "comparisons at once; 0: left to memwatch-controller worker", "1"),
    ("analysis-memory-mib", "N", "memory of one of them; 0: 3/4 of the machine's", "0"),
    ("analysis-seconds", "N", "time of one of them", "1800"),
    ("keep-days", "N", "snapshots are kept so long; 0: for ever", "0"),
    ("keep-snapshots", "N", "so many are kept, the newest; 0: all", "0"),
    ("keep-gib", "N", "so many GiB of them are kept, the newest; 0: all", "0"),
    ("max-captures", "N", "snapshots that are taken at once, and as many profiles", "32"),
    ("max-captures-per-service", "N", "of one service's replicas; 0: half, never all of them", "0"),
    ("cluster", "WHERE", "the Kubernetes API: auto, off, in-cluster, or a kubeconfig", "auto"),
    ("namespaces", "NAMES", "of services, by comma: pods of no others are read; none: all", ""),
    (
        "webhook-name",
        "NAME",
        "webhook configuration that doctor looks at",
        "memwatch-webhook",
    ),
    ("attach-image", "IMAGE", "agent that memwatchctl attach puts into running pods", ""),
    ("attach-pull-policy", "WORD", "Always, IfNotPresent or Never", "IfNotPresent"),
    ("attach-controller", "ADDR", "where pods reach this controller", ""),
    ("attach-token-secret", "NAME", "secret of the pod's namespace with the token", SECRET),
    ("attach-token-key", "KEY", "its key", "token"),
    ("profile-days", "N", "profiles older than this are deleted; 0: never", "7"),
)


def parse(argv: Sequence[str], environ: Mapping[str, str], host: str) -> Settings:
    """The settings of a command line and an environment; a flag wins over its twin.

    Raises:
        StartError: a value that cannot be used.
        SystemExit: `--help`, or a flag that does not exist.
    """
    given = _parser().parse_args(argv)
    value = flags.reader(given, _FLAGS, environ, ENV_PREFIX)
    listen, http = address_of("--listen", value("listen")), value("http_listen")
    data_dir = Path(value("data_dir") or _default_data_dir())
    cert, key, authority = _tls(value("tls_cert"), value("tls_key"), value("tls_ca"))
    settings = Settings(
        listen=listen,
        http_listen="" if http == "off" else address_of("--http-listen", http),
        data_dir=data_dir,
        database_url=value("database_url"),
        blob_url=value("blob_url"),
        token=environ.get("MEMWATCH_TOKEN", "").strip(),
        token_file=Path(value("token_file") or data_dir / "token"),
        no_auth=given.insecure_no_auth,
        tls_cert=cert,
        tls_key=key,
        tls_ca=authority,
        log_level=choice_of("--log-level", value("log_level"), LOG_LEVELS),
        heartbeat_seconds=number_of("--heartbeat-seconds", value("heartbeat_seconds"), 0.2, 300),
        retry_seconds=number_of("--retry-seconds", value("retry_seconds"), 0, 86_400),
        wait_seconds=number_of("--wait-seconds", value("wait_seconds"), 0, 1e9),
        max_sessions=int(number_of("--max-sessions", value("max_sessions"), 1, 100_000)),
        max_captures=int(number_of("--max-captures", value("max_captures"), 1, 1_000)),
        max_captures_per_service=int(
            number_of("--max-captures-per-service", value("max_captures_per_service"), 0, 1_000)
        ),
        profile_days=int(number_of("--profile-days", value("profile_days"), 0, 36_500)),
        analysis_workers=int(number_of("--analysis-workers", value("analysis_workers"), 0, 64)),
        analysis_memory_mib=int(
            number_of("--analysis-memory-mib", value("analysis_memory_mib"), 0, 1 << 24)
        ),
        analysis_seconds=number_of("--analysis-seconds", value("analysis_seconds"), 1, 86_400),
        keep=Policy(
            age_millis=round(
                number_of("--keep-days", value("keep_days"), 0, 36_500) * 24 * 3600_000
            ),
            count=int(number_of("--keep-snapshots", value("keep_snapshots"), 0, 1e9)),
            stored_bytes=round(number_of("--keep-gib", value("keep_gib"), 0, 1e9) * 1024**3),
        ),
        cluster=value("cluster"),
        namespaces=flags.namespaces_of("--namespaces", value("namespaces")),
        webhook_name=value("webhook_name"),
        attaching=Attaching(
            image=value("attach_image"),
            pull_policy=flags.pull_policy_of("--attach-pull-policy", value("attach_pull_policy")),
            controller=value("attach_controller"),
            token_secret=value("attach_token_secret"),
            token_key=value("attach_token_key"),
        ),
        host=environ.get("POD_NAME", "") or host,
    )
    _check_auth(settings)
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="memwatch-controller",
        description="Runs timed sessions of heap snapshots, stores them and says what grew.",
        epilog="'memwatch-controller worker' does analyses on another machine, "
        "'memwatch-controller webhook' adds agents to pods; see their --help. "
        f"Every flag has a twin {ENV_PREFIX}<FLAG>, such as {ENV_PREFIX}LISTEN. "
        "The token is also taken from MEMWATCH_TOKEN.",
    )
    flags.declare(parser, _FLAGS)
    parser.add_argument(
        "--insecure-no-auth",
        action="store_true",
        help="let every caller in; only on loopback or Unix sockets",
    )
    return parser


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return not address or address.startswith("unix:") or bool(_LOOPBACK.fullmatch(address))


def _check_auth(settings: Settings) -> None:
    if settings.no_auth:
        for address in (settings.listen, settings.http_listen):
            if not is_local(address):
                cause = "it needs loopback addresses or Unix sockets; leave it out"
                raise StartError(f"--insecure-no-auth on '{address}'", cause)


def _tls(cert: str, key: str, authority: str) -> tuple[Path | None, Path | None, Path | None]:
    if bool(cert) != bool(key):
        raise StartError("--tls-cert", "it goes together with --tls-key; pass both")
    for name, path in (("--tls-cert", cert), ("--tls-key", key), ("--tls-ca", authority)):
        if path and not os.access(path, os.R_OK):
            raise StartError(f"{name} {path!r}", "it cannot be read; check path and rights")
    files = (Path(path) if path else None for path in (cert, key, authority))
    return next(files), next(files), next(files)


def _default_data_dir() -> str:
    import platformdirs  # only needed without --data-dir

    return os.path.join(platformdirs.user_data_dir("memwatch"), "controller")
