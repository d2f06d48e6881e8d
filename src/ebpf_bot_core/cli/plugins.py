"""ebpf-bot plugins: what is installed, by whom, and what failed to load and why."""

from __future__ import annotations

import json

import click

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def plugins(*, as_json: bool) -> int:
    """List the installed plugins, what each provides, and why any failed to load.

    EBPF_BOT_PLUGINS=a,b loads only these; EBPF_BOT_DISABLE_PLUGINS=c leaves that one out.

    \b
    Examples:
      ebpf-bot plugins
      EBPF_BOT_DISABLE_PLUGINS=bcc ebpf-bot plugins --json
    """
    from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415 - `--help` must not wait for it

    loaded = Plugins().loaded
    if as_json:
        listed = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "provides": plugin.provides,
                "error": plugin.error or None,
            }
            for plugin in loaded
        ]
        click.echo(json.dumps({"schema": "ebpf-bot/plugins/1", "plugins": listed}, indent=1))
        return 0
    for plugin in loaded:
        state = click.style("failed", fg="red") if plugin.error else click.style("ok", fg="green")
        click.echo(f"{plugin.name:<16} {state}  {plugin.distribution}")
        if plugin.error:
            click.echo(f"{'':<16} {plugin.error}")
        elif plugin.provides:
            click.echo(f"{'':<16} {', '.join(plugin.provides)}")
    return 0
