"""Assembly: the stages of one pipeline, looked up by name or given as objects, each wrapped in its telemetry."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import attrs

from ebpf_bot_core.orchestrator import CoverageOrchestrator
from ebpf_bot_core.plan import Plan, StageChoice, Stages
from ebpf_bot_core.plugins import Plugins
from ebpf_bot_core.policy import Policy
from ebpf_bot_core.stages import ProbeInjector, SignalProcessor, SignalReceiver, SignalStore
from ebpf_bot_core.telemetry.instruments import Instruments
from ebpf_bot_core.telemetry.stages import TracedInjector, TracedProcessor, TracedReceiver, TracedStore

__all__ = ["Assembly", "orchestrator_for"]


@attrs.frozen
class Assembly:
    """The stages in the order in which data passes them.

    Attributes:
        backend: the injector's name.
    """

    backend: str
    injector: TracedInjector
    receiver: TracedReceiver
    processors: tuple[TracedProcessor, ...]
    store: TracedStore

    @classmethod
    def of(
        cls,
        chosen: Stages,
        plugins: Plugins,
        instruments: Instruments,
        *,
        injector: ProbeInjector | None = None,
        receiver: SignalReceiver | None = None,
        processors: Sequence[SignalProcessor] | None = None,
        store: SignalStore | None = None,
    ) -> Assembly:
        """Build what a plan chose, except where a stage is given as an object.

        Raises:
            PluginError: a plan names a plugin that is not there or is broken; PlanError for its options.
        """
        backend = _name_of(injector) if injector is not None else chosen.injector.name
        receiving = chosen.receiver or StageChoice(chosen.injector.name)
        many = (
            [(_name_of(processor), processor) for processor in processors]
            if processors is not None
            else [(choice.name, _build(plugins, "processor", choice)) for choice in chosen.processors]
        )
        return cls(
            backend,
            TracedInjector(injector or _build(plugins, "injector", chosen.injector), backend, instruments),
            TracedReceiver(
                receiver or _build(plugins, "receiver", receiving),
                _name_of(receiver) if receiver is not None else receiving.name,
                instruments,
            ),
            tuple(TracedProcessor(processor, name, instruments) for name, processor in many),
            TracedStore(
                store or _build(plugins, "store", chosen.store),
                _name_of(store) if store is not None else chosen.store.name,
                instruments,
            ),
        )

    def close(self) -> None:
        """Close every stage that can be closed, also where closing another fails."""
        with contextlib.closing(self.store), contextlib.closing(self.injector):
            self.receiver.close()


def orchestrator_for(
    plan: Plan, plugins: Plugins, *, policy: Policy | None, keep: bool, seed: int
) -> CoverageOrchestrator:
    """Return the orchestrator with the plan's policy and budget, or with a policy given as an object."""
    chosen = plan.stages.policy
    return CoverageOrchestrator(
        policy or _build(plugins, "policy", chosen),
        strategy=_name_of(policy) if policy else chosen.name,
        max_attached=plan.budget.max_attached,
        max_overhead=plan.budget.max_overhead.ratio if plan.budget.max_overhead else None,
        keep=keep,
        seed=seed,
    )


def _build(plugins: Plugins, kind: str, choice: StageChoice) -> Any:
    return plugins.get(kind, choice.name).build(choice.options)


def _name_of(stage: object) -> str:
    return type(stage).__name__
