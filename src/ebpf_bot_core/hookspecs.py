"""The hooks that a plugin may implement. Hooks register; the typed objects that they register do the work.

A plugin is a module (or object) named by an entry point in the group `ebpf_bot`. It implements any of these
functions, each marked with `ebpf_bot_core.hookimpl`. Registering hooks are called once, when plugins are loaded; an
exception in one disables that plugin alone, and is shown by `ebpf-bot plugins`. Importing the module should be
cheap: import heavy things in the factory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    import click

    from ebpf_bot_core.coverage import CoverageMap, VerdictChanges
    from ebpf_bot_core.diagnosis import Diagnosis
    from ebpf_bot_core.policy import Policy
    from ebpf_bot_core.registry import Register
    from ebpf_bot_core.reports import Report
    from ebpf_bot_core.run import Run
    from ebpf_bot_core.stages import ProbeInjector, SignalProcessor, SignalReceiver, SignalStore
    from ebpf_bot_core.step import Step

__all__ = ["PROJECT", "hookimpl"]

PROJECT: Final = "ebpf_bot"
"""The pluggy project name, and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of the same name."""


@hookspec
def ebpf_bot_register_injectors(register: Register[ProbeInjector]) -> None:
    """Register probe injectors.

    Example:
        @hookimpl
        def ebpf_bot_register_injectors(register):
            register("mine", MyInjector, options=MyOptions)
    """


@hookspec
def ebpf_bot_register_receivers(register: Register[SignalReceiver]) -> None:
    """Register signal receivers. A receiver under an injector's name is that injector's default.

    Example:
        @hookimpl
        def ebpf_bot_register_receivers(register):
            register("mine", MyReceiver)
    """


@hookspec
def ebpf_bot_register_processors(register: Register[SignalProcessor]) -> None:
    """Register signal processors; a plan lists them by name, in order.

    Example:
        @hookimpl
        def ebpf_bot_register_processors(register):
            register("only-errors", OnlyErrors)
    """


@hookspec
def ebpf_bot_register_stores(register: Register[SignalStore]) -> None:
    """Register signal stores. `--store NAME:PATH` gives the option `path`.

    Example:
        @hookimpl
        def ebpf_bot_register_stores(register):
            register("parquet", ParquetStore, options=ParquetOptions)
    """


@hookspec
def ebpf_bot_register_policies(register: Register[Policy]) -> None:
    """Register policies, which rank the probes to attach next.

    Example:
        @hookimpl
        def ebpf_bot_register_policies(register):
            register("rarest-first", RarestFirst)
    """


@hookspec
def ebpf_bot_register_reports(register: Register[Report]) -> None:
    """Register report formats; `ebpf-bot report --format NAME` writes them.

    Example:
        @hookimpl
        def ebpf_bot_register_reports(register):
            register("markdown", MarkdownReport)
    """


@hookspec
def ebpf_bot_register_commands(group: click.Group) -> None:
    """Add subcommands to `ebpf-bot`.

    Example:
        @hookimpl
        def ebpf_bot_register_commands(group):
            group.add_command(my_command)
    """


@hookspec
def ebpf_bot_diagnose() -> Iterable[Diagnosis]:  # type: ignore[empty-body]  # a spec has none
    """Say what of this plugin works on this host, for `ebpf-bot doctor`.

    Called by `doctor` only; it may take a second, must leave nothing behind and may not start a run. An exception
    becomes a failed diagnosis under the plugin's name.

    Example:
        @hookimpl
        def ebpf_bot_diagnose():
            yield Diagnosis("mine: kernel support", ok=True, found="6.18")
    """


@hookspec
def ebpf_bot_run_started(run: Run) -> None:
    """Observe that a run begins, before any probe is attached.

    Observers cannot break a run: an exception is logged with the plugin's name, and counted as an error.

    Example:
        @hookimpl
        def ebpf_bot_run_started(run):
            print(run.id)
    """


@hookspec
def ebpf_bot_step_finished(step: Step) -> None:
    """Observe a finished step: its decision, how many signals came, and how long it took.

    Called after the step's record is stored. Failures as for `ebpf_bot_run_started`.

    Example:
        @hookimpl
        def ebpf_bot_step_finished(step):
            print(step.number, step.signals)
    """


@hookspec
def ebpf_bot_verdict_changed(changes: VerdictChanges) -> None:
    """Observe changed verdicts: all that one record of a run changed, in one call.

    Called after the record is stored, before its step has finished; also for what fired while the last probes were
    being detached. Not called where none changed. Failures as for `ebpf_bot_run_started`.

    Example:
        @hookimpl
        def ebpf_bot_verdict_changed(changes):
            for probe, before, after in changes:
                print(probe, before.label, "->", after.label)
    """


@hookspec
def ebpf_bot_run_finished(run: Run, coverage: CoverageMap) -> None:
    """Observe the end of a run, after its last record is stored and every probe is detached.

    Called for runs that were interrupted too, not for those that were killed. Failures as for
    `ebpf_bot_run_started`.

    Example:
        @hookimpl
        def ebpf_bot_run_finished(run, coverage):
            print(coverage.ratio)
    """
