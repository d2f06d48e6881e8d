"""ebpf-bot doctor: what works on this host, what does not, and what mends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpf_bot_core.diagnosis import Diagnosis
    from ebpf_bot_core.plugins import Plugins

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(*, as_json: bool) -> int:
    """Look at kernel, privileges, backends and telemetry: what works, and the command that mends the rest.

    Exit status 0 if the default backend can work here, else 2.

    \b
    Examples:
      ebpf-bot doctor
      ebpf-bot doctor --json | jq '.checks[] | select(.ok | not)'
    """
    from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415 - `--help` must not wait for it

    checks = list(_checks(Plugins()))
    healthy = all(check.ok for check in checks if check.needed)
    if as_json:
        document = {
            "schema": "ebpf-bot/doctor/1",
            "ok": healthy,
            "checks": [attrs.asdict(check) for check in checks],
        }
        click.echo(json.dumps(document, indent=1))
        return 0 if healthy else 2
    width = max(len(check.subject) for check in checks)
    for check in checks:
        missing = click.style("✗", fg="red") if check.needed else click.style("!", fg="yellow")
        mark = click.style("✓", fg="green") if check.ok else missing
        click.echo(f"{mark} {check.subject:<{width}}  {check.found}")
        if check.remedy and not check.ok:
            click.echo(f"  {'':<{width}}  → {check.remedy}")
    if healthy:
        click.echo("\nReal probes work here: ebpf-bot run --expect 'syscall:*' -- ls")
    else:
        click.echo("\nReal probes do not work here yet; --backend simulated needs none of this.")
    return 0 if healthy else 2


def _checks(plugins: Plugins) -> Iterator[Diagnosis]:
    import platform  # noqa: PLC0415 - `--help` must not wait for it

    from ebpf_bot_core.diagnosis import Diagnosis  # noqa: PLC0415
    from ebpf_bot_core.telemetry.otlp import diagnose  # noqa: PLC0415

    yield Diagnosis(
        "kernel", ok=platform.system() == "Linux", found=f"{platform.release()} {platform.machine()}"
    )
    broken = [plugin for plugin in plugins.loaded if plugin.error]
    yield Diagnosis(
        "plugins",
        ok=not broken,
        found=f"{len(plugins.loaded) - len(broken)} loaded"
        + (f", failed: {', '.join(plugin.name for plugin in broken)}" if broken else ""),
        remedy="`ebpf-bot plugins` says why",
    )
    if "libbpf" not in plugins.injectors:
        yield Diagnosis(
            "libbpf", ok=False, found="not installed", remedy="pip install ebpf-bot-libbpf", needed=True
        )
    for name, function in plugins.implementations("ebpf_bot_diagnose"):
        try:
            yield from function()
        except Exception as error:  # noqa: BLE001 - one plugin's defect must not hide the others' findings
            yield Diagnosis(
                name,
                ok=False,
                found=f"its diagnosis failed: {type(error).__name__}: {error}",
                needed=name == "libbpf",
            )
    yield diagnose()
