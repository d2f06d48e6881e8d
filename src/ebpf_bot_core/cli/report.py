"""ebpf-bot report: the coverage map of the stored runs."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ebpf_bot_core.cli.words import complete_plugin, complete_store
from ebpf_bot_core.cli.words import store as store_choice
from ebpf_bot_core.errors import BadUsageError

if TYPE_CHECKING:
    from ebpf_bot_core.plan import StageChoice
    from ebpf_bot_core.reports import Report
    from ebpf_bot_core.reports.document import CoverageDocument
    from ebpf_bot_core.stages import SignalStore

__all__ = ["report"]


@click.command()
@click.option(
    "--store",
    type=store_choice,
    shell_complete=complete_store,
    default="sqlite",
    help="Where it is kept.  [default: sqlite:.ebpf-bot.db]",
)
@click.option(
    "--format", "format_", shell_complete=complete_plugin("report"), default="text", show_default=True
)
@click.option("--run", "run_ids", multiple=True, metavar="ID", help="Only this run; may be repeated.")
@click.option("--last", is_flag=True, help="Only the newest run.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file instead of stdout.")
def report(
    store: StageChoice, format_: str, run_ids: tuple[str, ...], output: Path | None, *, last: bool
) -> int:
    """Show the coverage map of the stored runs, folded into one.

    A probe counts as fired if it fired in any of the runs.

    \b
    Examples:
      ebpf-bot report
      ebpf-bot report --last --format json -o coverage.json
      ebpf-bot report --store file:evidence/
    """
    from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415 - `--help` must not wait for numpy
    from ebpf_bot_core.telemetry.instruments import Instruments  # noqa: PLC0415
    from ebpf_bot_core.telemetry.otlp import exporting  # noqa: PLC0415
    from ebpf_bot_core.telemetry.stages import TracedStore  # noqa: PLC0415

    plugins = Plugins()
    writer = plugins.get("report", format_).build({})
    with exporting():
        opened = TracedStore(plugins.get("store", store.name).build(store.options), store.name, Instruments())
        with contextlib.closing(opened):
            document = _load(opened, run_ids, last=last)
        # Inside the context, so that a collector that is down delays the exit and not the report.
        if output is None:
            writer.write(document, sys.stdout)
            sys.stdout.flush()
        else:
            _replace(output, writer, document)
    return 0


def _load(store: SignalStore, run_ids: tuple[str, ...], *, last: bool) -> CoverageDocument:
    from ebpf_bot_core.reports.document import CoverageDocument  # noqa: PLC0415

    runs = store.runs()
    unknown = set(run_ids) - {run.id for run in runs}
    if unknown:
        raise BadUsageError(
            f"no run {min(unknown)} in the store", hint="`ebpf-bot report --format json` lists them"
        )
    chosen = [run for run in runs if not run_ids or run.id in run_ids][-1 if last else 0 :]
    if not chosen:
        raise BadUsageError("the store holds no run", hint="`ebpf-bot run` makes one")
    return CoverageDocument.of([(run, store.evidence(run.id)) for run in chosen])


def _replace(path: Path, writer: Report, document: CoverageDocument) -> None:
    """Write a file whole or not at all, so that a reader never sees half of one."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                writer.write(document, stream)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)  # noqa: PTH101 - mkstemp made it 0600, which is not what a user expects
            os.replace(name, path)  # noqa: PTH105 - both are plain names here
        except BaseException:
            os.unlink(name)  # noqa: PTH108 - likewise
            raise
    except OSError as error:
        raise BadUsageError(
            f"{path}: {error.strerror}", hint="choose a path that can be written with -o"
        ) from error
