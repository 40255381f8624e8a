"""Flags that several commands take, those that every one does, and the shape of their help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from memwatchctl import durations

FORMATS = ("table", "json", "yaml")


@dataclass
class Globals:
    """What the global flags said; None where they said nothing.

    Attributes:
        controller: address of the controller.
        token_file: file with the bearer token.
        context: name of a context of the configuration.
        tls_ca: file with the certificate authority of the controller.
        output: one of `FORMATS`.
        no_color: colours are off.
        verbose: show tracebacks.
    """

    controller: str | None = None
    token_file: str | None = None
    context: str | None = None
    tls_ca: str | None = None
    output: str | None = None
    no_color: bool = False
    verbose: bool = False

    @property
    def format(self) -> str:
        """The output format."""
        return self.output or "table"


class GlobalOption(click.Option):
    """A flag of `Globals`: kept on the root's object, listed in a section of its own."""

    def __init__(self, *declarations: str, **attributes: Any) -> None:
        super().__init__(
            list(declarations), expose_value=False, callback=_remember, default=None, **attributes
        )


def _remember(context: click.Context, option: click.Parameter, value: object) -> None:
    """Keeps a value that was given; a later place (the command's own) wins."""
    globals_ = context.ensure_object(Globals)
    if value is not None and value is not False and option.name:
        setattr(globals_, option.name, value)


def _global_options() -> list[click.Parameter]:
    return [
        GlobalOption(
            "--controller",
            metavar="ADDR",
            help="Controller, host:port or unix:/path [env: MEMWATCH_CONTROLLER].",
        ),
        GlobalOption(
            "--token-file",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="File with the bearer token [env: MEMWATCH_TOKEN_FILE, or MEMWATCH_TOKEN].",
        ),
        GlobalOption(
            "--tls-ca",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="Speak TLS and trust this certificate authority [env: MEMWATCH_TLS_CA].",
        ),
        GlobalOption("--context", metavar="NAME", help="Use this context of the configuration."),
        GlobalOption(
            "-o", "--output-format", "output", type=click.Choice(FORMATS), help="Output format."
        ),
        GlobalOption("--no-color", is_flag=True, help="No colours [env: NO_COLOR]."),
        GlobalOption("-v", "--verbose", is_flag=True, help="Show tracebacks and what is tried."),
    ]


def millis(bare_unit: str) -> Callable[[click.Context, click.Parameter, str | None], int]:
    """A callback that reads a length of time into milliseconds; 0 where none was given."""

    def parsed(_context: click.Context, _option: click.Parameter, value: str | None) -> int:
        if value is None:
            return 0
        try:
            return durations.parse(value, bare_unit)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return parsed


#: The server's own limit; a plan above it is refused here without a call.
MAX_SNAPSHOTS = 100


def course_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that say when a capture's snapshots are taken."""
    add_snapshots = click.option(
        "--snapshots",
        type=click.IntRange(2, MAX_SNAPSHOTS),
        default=2,
        show_default=True,
        help="How many, evenly spaced.",
    )
    add_timeframe = click.option(
        "-t",
        "--timeframe",
        type=click.UNPROCESSED,
        callback=millis("m"),
        default="5",
        show_default=True,
        metavar="TIME",
        help="Time from first to last snapshot: 5 (minutes), 0.1, 30s, 5m, 2h, 1d.",
    )
    return add_timeframe(add_snapshots(function))


class _Sectioned(click.Command):
    """A command that lists its own options, its commands, and then the global flags."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                (shared if isinstance(parameter, GlobalOption) else own).append(record)
        with formatter.section("Options"):
            formatter.write_dl(own)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        with formatter.section("Global options"):
            formatter.write_dl(shared)


class Command(_Sectioned):
    """A command with the global flags."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_global_options())


class Group(_Sectioned, click.Group):
    """A group with the global flags, whose commands have them too."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_global_options())


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declares a command that stands alone."""
    return click.command(name, cls=Command, **attributes)


def group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:
    """Declares the group of a noun."""
    return click.group(name, cls=Group, **attributes)
