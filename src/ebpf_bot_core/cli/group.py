"""The group of all subcommands, the plugins' among them, and how an error ends the process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from ebpf_bot_core.errors import BackendError, EbpfBotError

__all__ = ["execute"]

FAILED = 2
"""Exit status of bad usage, a bad plan or an environment that cannot serve."""
LOG_LINES = 40
"""How much of a log is shown."""


class _Group(click.Group):
    """Knows the core's commands at once, and loads plugins only when somebody may want one of theirs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked_plugins = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._ask_plugins()
        return super().get_command(ctx, cmd_name)

    def _ask_plugins(self) -> None:
        if not self._asked_plugins:
            self._asked_plugins = True
            from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415 - most calls need none

            Plugins().register_commands(self)


def _group() -> click.Group:
    from ebpf_bot_core.cli.completion import completion  # noqa: PLC0415 - each imports click's decorators
    from ebpf_bot_core.cli.doctor import doctor  # noqa: PLC0415
    from ebpf_bot_core.cli.plugins import plugins  # noqa: PLC0415
    from ebpf_bot_core.cli.probes import probes  # noqa: PLC0415
    from ebpf_bot_core.cli.report import report  # noqa: PLC0415
    from ebpf_bot_core.cli.run import run  # noqa: PLC0415

    for command in (run, probes, report, plugins, doctor, completion):
        ebpf_bot.add_command(command)
    return ebpf_bot


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ebpf-bot-core", prog_name="ebpf-bot")
@click.option("--debug", is_flag=True, help="Log everything, and show a traceback where there is one.")
def ebpf_bot(*, debug: bool) -> None:
    """Prove what your eBPF probes can and cannot see.

    \b
    Examples:
      ebpf-bot run --expect 'uprobe:libcrypto:EVP_*' -- openssl dgst -sha256 /etc/passwd
      ebpf-bot run plan.toml --for 30s --fail-under 85
      ebpf-bot report --format json
      ebpf-bot probes 'uprobe:gzip:*'
      ebpf-bot doctor
    """
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status."""
    debug = "--debug" in arguments[:1]
    try:
        status = _group().main(args=list(arguments), prog_name="ebpf-bot", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return FAILED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "ebpf-bot"
        return _fail(error.format_message(), f"see `{path} --help`")
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except EbpfBotError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, BackendError):
            _show_log(error.log, whole=debug)
        return _fail(error.message, error.hint)
    except BrokenPipeError:
        # The reader of our output has gone; give Python no second chance to complain while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0


def _show_log(log: str, *, whole: bool) -> None:
    """Show what a compiler or the kernel's verifier said: its end, which is where they say what was wrong."""
    lines = log.strip().splitlines()
    left_out = 0 if whole else max(len(lines) - LOG_LINES, 0)
    if left_out:
        click.echo(f"... {left_out} lines, which --debug shows", err=True)
    for line in lines[left_out:]:
        click.echo("".join(c if c.isprintable() else " " for c in line), err=True)


def _fail(message: str, hint: str) -> int:
    click.echo(click.style("error: ", fg="red") + _one_line(message), err=True)
    if hint:
        click.echo(click.style("hint: ", fg="cyan") + _one_line(hint), err=True)
    return FAILED


def _one_line(text: str) -> str:
    return " ".join(text.split())
