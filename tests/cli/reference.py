"""Makes the second half of docs/reference/cli.md of the commands' own help.

python -m tests.cli.reference        writes it
"""

from collections.abc import Iterator
from pathlib import Path

import click

from memwatchctl.__main__ import cli
from memwatchctl.errors import MEANINGS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
HEAD = "| code | meaning |\n|---|---|\n"
WIDTH = 100


def page() -> str:
    """The page as it should be: its hand-written half, and the rest made anew."""
    written = PAGE.read_text(encoding="utf-8").partition(HEAD)[0]
    codes = "".join(f"| {int(code)} | {text} |\n" for code, text in MEANINGS.items())
    blocks = "".join(
        f"\n### {' '.join(words)}\n\n```text\n{text}\n```\n" for words, text in helps(cli, ())
    )
    return f"{written}{HEAD}{codes}\n## Commands\n{blocks}"


def helps(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The help of a command and of all below it, without the flags that all share."""
    context = _context(command, words)
    if words:
        text = command.get_help(context).replace("\n  \n", "\n\n")
        yield words, text.partition("\n\nGlobal options:")[0]
    else:
        yield ("memwatchctl",), command.get_help(context).replace("\n  \n", "\n\n")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from helps(found, (*(words or ("memwatchctl",)), name))


def _context(command: click.Command, words: tuple[str, ...]) -> click.Context:
    return click.Context(
        command,
        info_name=" ".join(words or ("memwatchctl",)),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
