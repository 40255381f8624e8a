"""Which controller to talk to: contexts in the user's configuration, as kubectl has them.

    current_context: staging
    contexts:
      staging:
        controller: memwatch.staging.example:9466
        token_file: /home/ann/.config/memwatch/staging.token
        tls_ca: /home/ann/.config/memwatch/staging-ca.pem

A flag beats the environment, the environment beats the context, and without all three it is
the controller of this machine with the token file of its default data directory.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from memwatchctl.errors import ContextError, FileError
from memwatchctl.options import Globals

DEFAULT_CONTROLLER = "127.0.0.1:9466"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}", re.ASCII)
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\]|::1)(:\d+)?", re.ASCII)


@dataclass(frozen=True)
class Context:
    """One controller and how to be let in; empty fields fall back to the defaults."""

    controller: str = ""
    token_file: str = ""
    tls_ca: str = ""
    dashboard_url: str = ""


@dataclass(frozen=True)
class Config:
    """The configuration file."""

    current_context: str = ""
    contexts: Mapping[str, Context] = field(default_factory=dict)

    def named(self, name: str) -> Context:
        """A context.

        Raises:
            ContextError: there is none of that name.
        """
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none yet"
            raise ContextError(
                f"cannot use context '{name}': there is no such context; known: {known}; "
                "make one with 'memwatchctl config set-context'"
            )
        return self.contexts[name]


@dataclass(frozen=True)
class Connection:
    """Where a controller is and how to be let in.

    Attributes:
        controller: `host:port` or `unix:/path`.
        token: the bearer token, where the environment gave it.
        token_file: the file with the token; None where there is none.
        tls_ca: file of the certificate authority; empty for no TLS.
        dashboard_url: where its pages are; empty where nobody said.
    """

    controller: str
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    tls_ca: str = ""
    dashboard_url: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        address = self.controller.removeprefix("dns:///")
        return address.startswith("unix:") or bool(_LOOPBACK.fullmatch(address))


def config_path(env: Mapping[str, str]) -> Path:
    """The configuration file: MEMWATCH_CONFIG, or the user's configuration directory."""
    if env.get("MEMWATCH_CONFIG"):
        return Path(env["MEMWATCH_CONFIG"])
    import platformdirs

    return Path(platformdirs.user_config_dir("memwatch")) / "config.yaml"


def local_data_dir() -> Path:
    """Where a controller of this machine keeps its data by default."""
    import platformdirs

    return Path(platformdirs.user_data_dir("memwatch")) / "controller"


def load(path: Path) -> Config:
    """Reads the configuration; an absent file is an empty one.

    Raises:
        FileError: it cannot be read.
        ContextError: it is not a configuration.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError("read", path, error) from error
    try:
        document = yaml.safe_load(text)
        return Config() if document is None else _parsed(document)
    except (yaml.YAMLError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise ContextError(f"cannot read configuration '{path}': {cause}") from error


def _parsed(document: Any) -> Config:
    """A configuration of its plain values; ValueError says what is wrong with them."""
    if not isinstance(document, dict):
        raise ValueError("expected a mapping with 'current_context' and 'contexts'")
    contexts = document.get("contexts") or {}
    if not isinstance(contexts, dict):
        raise ValueError("'contexts' must be a mapping")
    return Config(
        str(document.get("current_context") or ""),
        {str(name): _context(str(name), value) for name, value in contexts.items()},
    )


def _context(name: str, value: Any) -> Context:
    known = {f.name for f in fields(Context)}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(f"context '{name}' must be a mapping of words")
    unknown = set(value) - known
    if unknown:
        raise ValueError(f"context '{name}' has unknown fields: {', '.join(sorted(unknown))}")
    return Context(**value)


def save(path: Path, config: Config) -> None:
    """Writes the configuration in one step, for its owner only.

    Raises:
        FileError: it cannot be written.
    """
    import yaml

    document = {
        "current_context": config.current_context,
        "contexts": {
            name: {key: value for key, value in asdict(context).items() if value}
            for name, context in sorted(config.contexts.items())
        },
    }
    part = path.with_name(path.name + f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        part.replace(path)
    except OSError as error:
        raise FileError("write", path, error) from error


def valid_name(name: str) -> bool:
    """Whether a context may be called this."""
    return bool(_NAME.fullmatch(name))


def resolve(
    globals_: Globals, env: Mapping[str, str], config: Config, dashboard_url: str = ""
) -> Connection:
    """The controller to talk to: flag, then environment, then context, then this machine.

    A dashboard's address names its controller where nothing else does: same host, default
    gRPC port. The current context is left aside where another controller was named, so that
    its token never goes to a stranger.

    Raises:
        ContextError: the context that was named does not exist.
    """
    url = dashboard_url or env.get("MEMWATCH_DASHBOARD_URL", "")
    address = globals_.controller or env.get("MEMWATCH_CONTROLLER", "")
    address = address or (_controller_of(url) if url else "")
    name = globals_.context or env.get("MEMWATCH_CONTEXT", "")
    name = name or ("" if address else config.current_context)
    context = config.named(name) if name else Context()
    url = url or context.dashboard_url
    address = address or context.controller or (_controller_of(url) if url else "")
    connection = Connection(
        address or DEFAULT_CONTROLLER,
        tls_ca=globals_.tls_ca or env.get("MEMWATCH_TLS_CA") or context.tls_ca,
        dashboard_url=url,
    )
    return _with_token(connection, globals_, env, context)


def _with_token(
    connection: Connection, globals_: Globals, env: Mapping[str, str], context: Context
) -> Connection:
    """Adds the token. The local controller's own file is offered to this machine only."""
    if globals_.token_file:
        return replace(connection, token_file=Path(globals_.token_file))
    if env.get("MEMWATCH_TOKEN"):
        return replace(connection, token=env["MEMWATCH_TOKEN"])
    if named := env.get("MEMWATCH_TOKEN_FILE") or context.token_file:
        return replace(connection, token_file=Path(named))
    local = local_data_dir() / "token"
    if connection.is_local and os.access(local, os.R_OK):
        return replace(connection, token_file=local)
    return connection


def _controller_of(url: str) -> str:
    """The gRPC address that belongs to a dashboard's address.

    Raises:
        ContextError: it is no address of a dashboard.
    """
    from urllib.parse import urlsplit

    try:
        host = urlsplit(url).hostname if "://" in url else None
    except ValueError:
        host = None
    if not host:
        raise ContextError(
            f"cannot use dashboard address '{url}': it must look like http://host:9467"
        )
    return f"[{host}]:9466" if ":" in host else f"{host}:9466"
