"""What an agent is told at its start: flags, each with a twin among the environment variables."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from memwatch_agent.drivers.pythonattach import AttachPython
from memwatch_agent.errors import SettingsError
from memwatch_agent.watching import FLAGS as WATCHING_FLAGS
from memwatch_agent.watching import Watching, watching
from memwatch_proto import auth

ENV_PREFIX = "MEMWATCH_AGENT_"

#: Room for several snapshots of a usual service (a tenth of their raw size) on a usual disk.
DEFAULT_SPOOL_QUOTA = "4GiB"

#: An agent that is to stay for longer belongs into the pod's own specification.
MAX_END_AFTER_SECONDS = 8 * 24 * 3600

LOG_LEVELS = ("debug", "info", "warning", "error")

_SIZE = re.compile(r"(\d+)\s*([KMGT]i?)?B?", re.IGNORECASE)
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}
_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+")
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


@dataclass(frozen=True)
class Settings:
    """An agent's settings, checked.

    Attributes:
        listen: "host:port" or "unix:/path" of the gRPC server.
        advertise: where a controller dials this agent; empty: `listen` as it was bound.
        controller: the controller's address; empty: no controller.
        state_dir: holds the agent's id, its spool and what it learned.
        hook_dirs: directories in which hooks listen, besides those of the processes themselves.
        token: the bearer token; empty: every caller is let in.
        metrics_listen: address of /metrics; empty: none.
        spool_quota_bytes: the most that snapshots may take on disk.
        pids: only these processes are targets; empty: every Node and CPython process.
        service: name of targets that name none themselves.
        labels: labels of every target, such as those of the pod.
        end_after_seconds: the agent stops by itself after this; 0: it does not.
        end_with_input: whether the agent stops when its standard input ends, as it does when
            the command that started it in a container is gone.
        attach_python: how a Python process without a hook may be entered.
        watching: what the leak detector looks for.
    """

    listen: str
    advertise: str
    controller: str
    state_dir: Path
    hook_dirs: tuple[Path, ...]
    token: str
    metrics_listen: str
    spool_quota_bytes: int
    pids: tuple[int, ...]
    log_level: str
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    service: str = ""
    host: str = ""
    pod: str = ""
    namespace: str = ""
    pod_uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    end_with_input: bool = False
    attach_python: AttachPython = AttachPython.OFF
    watching: Watching = field(default_factory=Watching)
    end_after_seconds: int = 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: cannot start: {message}; see --help\n")


def parse(argv: Sequence[str], environ: Mapping[str, str], host: str) -> Settings:
    """The settings of a command line and an environment; a flag wins over its twin.

    Raises:
        SettingsError: a value that cannot be used.
        SystemExit: `--help`, `--version`, or a flag that does not exist.
    """
    given = _parser().parse_args(argv)

    def value(name: str, default: str = "") -> str:
        flag = getattr(given, name)
        return str(environ.get(ENV_PREFIX + name.upper(), default) if flag is None else flag)

    listen = _address("--listen", value("listen", "127.0.0.1:9465"))
    advertise, controller = value("advertise"), value("controller")
    metrics = value("metrics_listen", "127.0.0.1:9464")
    return Settings(
        listen=listen,
        advertise=_address("--advertise", advertise) if advertise else "",
        controller=_address("--controller", controller) if controller else "",
        state_dir=Path(value("state_dir") or _default_state_dir()),
        hook_dirs=_hook_dirs(value("hook_dir"), environ),
        token=_token(given.insecure_no_auth, value("token_file"), listen, environ),
        metrics_listen="" if metrics == "off" else _address("--metrics-listen", metrics),
        spool_quota_bytes=parse_size("--spool-quota", value("spool_quota", DEFAULT_SPOOL_QUOTA)),
        pids=_pids(given.pid, environ),
        log_level=_choice("--log-level", value("log_level", "info"), LOG_LEVELS),
        **_tls(value("tls_cert"), value("tls_key"), value("tls_ca")),
        service=environ.get("MEMWATCH_SERVICE_NAME", ""),
        host=environ.get("NODE_NAME", "") or host,
        pod=environ.get("POD_NAME", ""),
        namespace=environ.get("POD_NAMESPACE", ""),
        pod_uid=environ.get("POD_UID", ""),
        labels=parse_labels("--labels", value("labels")),
        end_with_input=given.end_with_input,
        end_after_seconds=_seconds("--end-after", value("end_after", "0")),
        attach_python=AttachPython(
            _choice("--attach-python", value("attach_python", "off"), tuple(AttachPython))
        ),
        watching=watching(value, parse_size),
    )


def parse_size(name: str, text: str) -> int:
    """Bytes of a size such as `1048576`, `500MB` or `4GiB`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise SettingsError(name, text, "it is no size; write for example 4GiB")
    return int(match[1]) * _UNITS[(match[2] or "").upper()]


def parse_labels(name: str, text: str) -> dict[str, str]:
    """Labels of a text such as `app=web,tier=front`."""
    labels = {}
    for part in filter(None, text.split(",")):
        key, equals, label = part.partition("=")
        if not equals or not key.strip():
            raise SettingsError(name, text, "write for example app=web,tier=front")
        labels[key.strip()] = label.strip()
    return labels


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="memwatch-agent",
        description="Takes heap snapshots of the Node.js and Python processes beside it.",
        epilog=f"Every flag has a twin {ENV_PREFIX}<FLAG>, such as {ENV_PREFIX}LISTEN. "
        "The token is also taken from MEMWATCH_TOKEN or MEMWATCH_TOKEN_FILE. "
        "POD_NAME, POD_NAMESPACE, POD_UID and NODE_NAME say where the agent runs.",
    )
    for flag, metavar, text in (*_FLAGS, *WATCHING_FLAGS):
        parser.add_argument(f"--{flag}", metavar=metavar, help=text)
    parser.add_argument("--pid", metavar="N", action="append", help="only this process (repeat)")
    parser.add_argument(
        "--insecure-no-auth",
        action="store_true",
        help="let every caller in; only on loopback or a Unix socket",
    )
    parser.add_argument(
        "--stay",
        action="store_true",
        help="wait for SIGTERM also where the agent cannot start: a sidecar never fails its pod",
    )
    parser.add_argument(
        "--end-with-input",
        action="store_true",
        help="stop when the standard input ends: the command that started the agent is gone",
    )
    return parser


_FLAGS = (
    ("listen", "ADDR", "host:port or unix:/path of the gRPC server (127.0.0.1:9465)"),
    ("advertise", "ADDR", "where the controller reaches this agent (as bound)"),
    ("controller", "ADDR", "the controller to register with (none)"),
    ("state-dir", "DIR", "holds the agent's id, spool and what it learned"),
    ("hook-dir", "DIR", "where hooks listen, several split by ':' (MEMWATCH_HOOK_DIR)"),
    ("token-file", "FILE", "file with the bearer token"),
    ("metrics-listen", "ADDR", "address of /metrics, or 'off' (127.0.0.1:9464)"),
    ("spool-quota", "BYTES", "the most that snapshots may take on disk (4GiB)"),
    ("end-after", "SECONDS", "stop by itself after this: an agent attached to a running pod (0)"),
    ("labels", "K=V,…", "labels of every target"),
    (
        "attach-python",
        "HOW",
        "enter Python processes without a hook: off, remote-exec (CPython 3.14), or inject, "
        "which can stop the process for ever (off)",
    ),
    ("log-level", "LEVEL", f"one of {', '.join(LOG_LEVELS)} (info)"),
    ("tls-cert", "FILE", "certificate of the gRPC server"),
    ("tls-key", "FILE", "its key"),
    ("tls-ca", "FILE", "certificates that the controller's is checked against"),
)


def _address(name: str, text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:") and "\0" not in text:
        return text
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[2]) > 65_535:
        raise SettingsError(name, text, "write host:port or unix:/path")
    return text


def _hook_dirs(text: str, environ: Mapping[str, str]) -> tuple[Path, ...]:
    return tuple(
        Path(part)
        for part in (text or environ.get("MEMWATCH_HOOK_DIR", "")).split(os.pathsep)
        if part
    )


def _token(no_auth: bool, file: str, listen: str, environ: Mapping[str, str]) -> str:
    if no_auth:
        if not listen.startswith("unix:") and not _LOOPBACK.fullmatch(listen):
            raise SettingsError(
                "--insecure-no-auth", listen, "it needs a loopback address or a Unix socket"
            )
        return ""
    file = file or environ.get("MEMWATCH_TOKEN_FILE", "")
    if not file:
        if token := environ.get("MEMWATCH_TOKEN", "").strip():
            return token
        raise SettingsError(
            "--token-file", "", "there is no token; pass the controller's token file"
        )
    try:
        return auth.read_token(Path(file))
    except (OSError, ValueError) as error:
        cause = error.strerror or str(error) if isinstance(error, OSError) else "it is no token"
        raise SettingsError("--token-file", file, cause) from error


def _pids(flags: list[str] | None, environ: Mapping[str, str]) -> tuple[int, ...]:
    texts = flags if flags is not None else environ.get(ENV_PREFIX + "PID", "").split(",")
    for text in texts:
        if text and (not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**31):
            raise SettingsError("--pid", text, "it is no pid")
    return tuple(int(text) for text in texts if text)


def _tls(cert: str, key: str, authority: str) -> dict[str, Path | None]:
    if bool(cert) != bool(key):
        raise SettingsError("--tls-cert", cert, "--tls-cert and --tls-key go together")
    for name, path in (("--tls-cert", cert), ("--tls-key", key), ("--tls-ca", authority)):
        if path and not os.access(path, os.R_OK):
            raise SettingsError(name, path, "it cannot be read")
    names = {"tls_cert": cert, "tls_key": key, "tls_ca": authority}
    return {name: Path(path) if path else None for name, path in names.items()}


def _seconds(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_END_AFTER_SECONDS):
        cause = f"it is no number of seconds up to {MAX_END_AFTER_SECONDS}"
        raise SettingsError(name, text, cause)
    return int(text)


def _choice(name: str, text: str, choices: Sequence[str]) -> str:
    if text.lower() not in choices:
        raise SettingsError(name, text, f"it is none of {', '.join(choices)}")
    return text.lower()


def _default_state_dir() -> str:
    import platformdirs  # only needed without --state-dir

    return os.path.join(platformdirs.user_data_dir("memwatch"), "agent")
