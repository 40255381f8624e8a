"""Flags of our programs: each declared in one row, each with a twin in the environment."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from memwatch_controller.errors import StartError

LOG_LEVELS = ("debug", "info", "warning", "error")

#: Name, what stands for its value in `--help`, what it says, its default.
Flag = tuple[str, str, str, str]

#: Namespaces that can be named one by one: for each a watch is open, and an HTTP client has 100
#: connections.
MAX_NAMESPACES = 50

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        self.exit(2, f"{self.prog}: cannot start: {message}; see --help\n")


def declare(parser: argparse.ArgumentParser, flags: Sequence[Flag]) -> None:
    """Adds the flags to a parser; the defaults are shown and not filled in."""
    for name, metavar, text, default in flags:
        shown = f"{text} ({default})" if default else text
        parser.add_argument(f"--{name}", metavar=metavar, help=shown)


def reader(
    given: argparse.Namespace, flags: Sequence[Flag], environ: Mapping[str, str], prefix: str
) -> Callable[[str], str]:
    """Tells a flag by its name with underscores: as given, else as its twin says, else usual."""
    defaults = {name.replace("-", "_"): default for name, _, _, default in flags}

    def value(name: str) -> str:
        found = getattr(given, name)
        return str(environ.get(prefix + name.upper(), defaults[name]) if found is None else found)

    return value


def address_of(name: str, text: str) -> str:
    """An address that may be listened on.

    Raises:
        StartError: it is none.
    """
    if text.startswith("unix:") and len(text) > len("unix:") and "\0" not in text:
        return text
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[2]) > 65_535:
        raise StartError(f"{name} {text!r}", "it is no address; write host:port or unix:/path")
    return text


def choice_of(name: str, text: str, choices: Sequence[str]) -> str:
    """One of the choices.

    Raises:
        StartError: it is none of them.
    """
    if text.lower() not in choices:
        raise StartError(f"{name} {text!r}", f"it is none of {', '.join(choices)}")
    return text.lower()


def pull_policy_of(name: str, text: str) -> str:
    """When an image is pulled, as Kubernetes writes it.

    Raises:
        StartError: it is none.
    """
    found = {"always": "Always", "ifnotpresent": "IfNotPresent", "never": "Never"}
    return found[choice_of(name, text, tuple(found))]


def number_of(name: str, text: str, least: float, most: float) -> float:
    """A number within its limits.

    Raises:
        StartError: it is none, or beyond them.
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise StartError(f"{name} {text!r}", f"expected a number from {least:g} to {most:g}")
    return number


def namespaces_of(name: str, text: str) -> tuple[str, ...]:
    """Names of namespaces, by comma, each once.

    Raises:
        StartError: one is no name, or there are too many.
    """
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for namespace in found:
        if not _NAMESPACE.fullmatch(namespace):
            raise StartError(name, f"{namespace[:80]!r} is no name of a namespace")
    if len(found) > MAX_NAMESPACES:
        cause = f"{len(found)} namespaces are more than {MAX_NAMESPACES}; name none: it means all"
        raise StartError(name, cause)
    return found
