"""The way in: help that starts at once, exit codes, and no traceback whatever happens."""

import json
import subprocess
import sys

import pytest

from memwatchctl.commands import TABLE

#: What `--help` may import beside the standard library.
HELP_IMPORTS = {"click", "memwatchctl", "memwatch_proto"}

PROBE = """
import json, sys
before = set(sys.modules)
from memwatchctl.__main__ import run
code = run({arguments!r})
after = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print("\\n" + json.dumps([code, sorted(after - sys.stdlib_module_names)]), flush=True)
"""


def all_helps():
    """Each level at which help can be asked for."""
    yield []
    for name in TABLE:
        yield [name]
    yield ["sessions", "list"]
    yield ["config", "set-context"]


@pytest.mark.parametrize("words", list(all_helps()), ids=lambda words: " ".join(words) or "root")
def test_help_imports_only_click(cli, words):
    """Help of any level imports neither grpc nor numpy nor rich: a frozen list of packages."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=[*words, "--help"])],
        env=cli.env,
        capture_output=True,
        text=True,
        check=True,
    )
    code, imported = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert set(imported) <= HELP_IMPORTS


def test_short_help_matches_the_commands(cli):
    """The table's short help is the command's own."""
    import importlib

    for name, entry in TABLE.items():
        command = importlib.import_module(f"memwatchctl.commands.{entry.module}").command
        assert (command.name, command.short_help) == (name, entry.short_help)


def every_command(group, words=()):
    """Each command below a group, with the words that call it."""
    import click

    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*words, name))


def test_no_flag_hides_another():
    """No two flags of one command share a name, and each has a help text."""
    import click

    from memwatchctl.__main__ import cli

    for words, command in every_command(cli):
        names = [parameter.name for parameter in command.params]
        assert len(names) == len(set(names)), words
        assert command.get_short_help_str(), words
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (words, parameter)


def test_wrong_flag_is_a_usage_error(cli):
    """A flag that does not exist: click's own words and exit code 2."""
    done = cli("sessions", "list", "--nope")
    assert done.returncode == 2
    assert "No such option '--nope'" in done.stderr


def test_unreachable_controller(lone):
    """Nobody there: one line with the next step, exit code 5."""
    done = lone("sessions", "list")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "cannot reach the controller at '127.0.0.1:1': connection refused; "
        "start one with 'memwatchctl serve', or name yours with --controller\n"
    )


def test_wrong_token(cli):
    """A wrong token: one line, exit code 6."""
    done = cli("sessions", "list", env={"MEMWATCH_TOKEN": "wrong"})
    assert done.returncode == 6
    assert done.stderr.startswith("cannot accept the call: the bearer token is missing or wrong")


@pytest.mark.parametrize("text", [None, "", "\xff"])
def test_unusable_token_file(cli, text):
    """A token file that is missing, empty or no text: one line that names it, exit code 6."""
    if text is not None:
        (cli.home / "token").write_bytes(text.encode("latin-1"))
    done = cli("sessions", "list", "--token-file", "token")
    assert done.returncode == 6
    assert done.stderr.startswith("cannot read token file 'token': ")
    assert done.stderr.count("\n") == 1


def test_reader_that_goes_away(cli, fake):
    """`| head` closes the pipe: no traceback, nothing said."""
    for _ in range(2000):
        fake.add_session()
    with cli.start("sessions", "list", "--limit", "0") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait(20)
