"""ebpf-bot completion: the script that teaches a shell our words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(ebpf-bot completion bash)"
      ebpf-bot completion fish > ~/.config/fish/completions/ebpf-bot.fish
    """
    script = get_completion_class(shell)
    root = ctx.find_root()
    if script is not None:
        click.echo(script(root.command, {}, "ebpf-bot", "_EBPF_BOT_COMPLETE").source())
