"""The reference page says what the program says."""

from memwatchctl.__main__ import cli
from tests.cli import reference


def test_page_is_up_to_date():
    """docs/reference/cli.md is what `python -m tests.cli.reference` writes."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()


def test_every_command_is_there():
    """No command is left out."""
    text = reference.page()
    for words, _ in reference.helps(cli, ()):
        assert f"### {' '.join(words)}\n" in text
