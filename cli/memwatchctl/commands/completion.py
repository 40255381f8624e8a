"""`memwatchctl completion`: the script that a shell sources."""

import click

from memwatchctl.options import command as declare


@declare("completion", short_help="Shell completion for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      memwatchctl completion bash > ~/.local/share/bash-completion/completions/memwatchctl
      source <(memwatchctl completion zsh)
      memwatchctl completion fish > ~/.config/fish/completions/memwatchctl.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    root = context.find_root()
    click.echo(made(root.command, {}, "memwatchctl", "_MEMWATCHCTL_COMPLETE").source())
