"""The way in: parses, runs one command, and turns whatever happened into an exit code."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from memwatchctl.commands import LazyGroup
from memwatchctl.errors import CliError, ExitCode, Terminated
from memwatchctl.options import Globals
from memwatchctl.text import printable


@click.group(
    "memwatchctl",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Find memory leaks in running Node.js and Python services.

    \b
    Without a server, on this machine:
      memwatchctl capture --pid 4711 --timeframe 2m
      memwatchctl snapshot --pid 4711 --output now.heapsnapshot
    \b
    Through a controller:
      memwatchctl targets list
      memwatchctl capture shop --timeframe 5
      memwatchctl sessions list -o json
    """


def main() -> None:
    """Runs memwatchctl and exits."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    code = run(sys.argv[1:])
    _flush()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns its exit code and never raises."""
    globals_ = Globals()
    try:
        result = cli.main(
            list(arguments), prog_name="memwatchctl", standalone_mode=False, obj=globals_
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", ExitCode.INTERRUPTED, globals_)
    except Terminated:
        return ExitCode.TERMINATED
    except SystemExit as exit_:  # click's own answer to a closed pipe
        return exit_.code if isinstance(exit_.code, int) else ExitCode.FAILURE
    except CliError as error:
        return _say(str(error), error.code, globals_)
    except Exception as error:  # noqa: BLE001 - the outermost guard: no traceback for a user
        return _say(f"cannot go on: {_sentence(error)}", ExitCode.FAILURE, globals_)
    return result if isinstance(result, int) else ExitCode.OK


def _say(sentence: str, code: ExitCode, globals_: Globals) -> int:
    """Prints the sentence, and the traceback where it was asked for."""
    if globals_.verbose and code is not ExitCode.INTERRUPTED:
        import traceback

        traceback.print_exc()
    click.echo(printable(sentence), err=True)
    return code


def _sentence(error: BaseException) -> str:
    """An unforeseen error in one line, with a way to learn more."""
    text = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {text[:500]}; run again with --verbose for details"


def _flush() -> None:
    """Writes out what is buffered; a reader that went away is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(keeps_sessions=number == signal.SIGHUP)


if __name__ == "__main__":
    main()
