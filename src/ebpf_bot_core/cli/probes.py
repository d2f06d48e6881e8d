"""ebpf-bot probes: list the probes on this host."""

from __future__ import annotations

import json

import click

from ebpf_bot_core.cli.words import complete_plugin, complete_probe

__all__ = ["probes"]


@click.command()
@click.argument("pattern", shell_complete=complete_probe)
@click.option("--backend", shell_complete=complete_plugin("injector"), default="libbpf", show_default=True)
@click.option(
    "--json", "as_json", is_flag=True, help="All that the pattern matches, with verdicts and reasons."
)
def probes(pattern: str, backend: str, *, as_json: bool) -> int:
    """List the probes that PATTERN matches on this host and that can be tried, one name a line.

    What matches but cannot be probed is summed up on stderr. Exit status 2 if nothing can be tried.

    \b
    Examples:
      ebpf-bot probes 'uprobe:gzip:*'
      ebpf-bot probes 'tracepoint:sched:*'
      ebpf-bot probes 'syscall:open*' --json
    """
    from ebpf_bot_core.errors import blame  # noqa: PLC0415 - `--help` must not wait for numpy
    from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415
    from ebpf_bot_core.probe import ProbePattern  # noqa: PLC0415
    from ebpf_bot_core.verdicts import Verdict  # noqa: PLC0415

    parsed = ProbePattern.parse(pattern)
    injector = Plugins().get("injector", backend).build({})
    try:
        with blame("injector", backend):
            found = injector.find([parsed])
    finally:
        injector.close()
    rows = list(found)
    usable = [row.probe for row in rows if row.verdict is Verdict.PENDING]
    if as_json:
        listed = [
            {
                "probe": row.probe,
                "verdict": row.verdict.label,
                "reason": None if row.verdict is Verdict.PENDING else row.reason.code,
                "detail": row.detail or ("" if row.verdict is Verdict.PENDING else row.reason.hint),
            }
            for row in rows
        ]
        click.echo(
            json.dumps({"schema": "ebpf-bot/probes/1", "pattern": pattern, "probes": listed}, indent=1)
        )
    else:
        click.echo("".join(f"{name}\n" for name in usable), nl=False)
        others: dict[str, list[str]] = {}
        for row in rows:
            if row.verdict is not Verdict.PENDING:
                key = f"{row.verdict.label} ({row.reason.code})"
                others.setdefault(key, []).append(row.detail or row.reason.hint)
        for key, details in others.items():
            click.echo(f"{len(details):,} {key}: {details[0]}", err=True)
    return 0 if usable else 2
