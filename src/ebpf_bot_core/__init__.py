"""ebpf-bot proves what your eBPF probes can and cannot see.

These are the public names; plugins and embedding systems use no others. They are loaded when first used, so that
importing a plugin, or `ebpf-bot --help`, does not pay for numpy and OpenTelemetry.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ebpf_bot_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core.command import Command
    from ebpf_bot_core.coverage import CoverageBot, CoverageMap, VerdictChanges
    from ebpf_bot_core.diagnosis import Diagnosis
    from ebpf_bot_core.errors import (
        BackendError,
        EbpfBotError,
        NothingAttachedError,
        PatternError,
        PlanError,
        PluginError,
        StoreError,
    )
    from ebpf_bot_core.escaping import escape_bytes, escape_string, unescape_bytes, unescape_string
    from ebpf_bot_core.evidence import EVIDENCE_DTYPE, Evidence, ProbeEvidence
    from ebpf_bot_core.layouts import PAYLOAD, UNRECORDED, Layouts
    from ebpf_bot_core.orchestrator import CoverageOrchestrator, Decision
    from ebpf_bot_core.pipeline import UnifiedPipeline
    from ebpf_bot_core.plan import Budget, Expectation, Goal, Plan, StageChoice, Stages
    from ebpf_bot_core.plugins import Plugins
    from ebpf_bot_core.policy import Candidates, Policy
    from ebpf_bot_core.probe import ProbeKind, ProbePattern, ProbeTable
    from ebpf_bot_core.registry import Register
    from ebpf_bot_core.reports import Report
    from ebpf_bot_core.reports.document import CoverageDocument
    from ebpf_bot_core.run import Host, Mode, Run, Scope
    from ebpf_bot_core.signal import SIGNAL_DTYPE, Signal, SignalBatch
    from ebpf_bot_core.stages import (
        Injection,
        ProbeInjector,
        SignalProcessor,
        SignalReceiver,
        SignalStore,
    )
    from ebpf_bot_core.step import Step
    from ebpf_bot_core.telemetry.traced import traced
    from ebpf_bot_core.verdicts import Reason, Verdict

_HOME = {
    "command": ("Command",),
    "coverage": ("CoverageBot", "CoverageMap", "VerdictChanges"),
    "diagnosis": ("Diagnosis",),
    "errors": (
        "BackendError",
        "EbpfBotError",
        "NothingAttachedError",
        "PatternError",
        "PlanError",
        "PluginError",
        "StoreError",
    ),
    "escaping": ("escape_bytes", "escape_string", "unescape_bytes", "unescape_string"),
    "evidence": ("EVIDENCE_DTYPE", "Evidence", "ProbeEvidence"),
    "layouts": ("PAYLOAD", "UNRECORDED", "Layouts"),
    "orchestrator": ("CoverageOrchestrator", "Decision"),
    "pipeline": ("UnifiedPipeline",),
    "plan": ("Budget", "Expectation", "Goal", "Plan", "StageChoice", "Stages"),
    "plugins": ("Plugins",),
    "policy": ("Candidates", "Policy"),
    "probe": ("ProbeKind", "ProbePattern", "ProbeTable"),
    "registry": ("Register",),
    "reports": ("Report",),
    "reports.document": ("CoverageDocument",),
    "run": ("Host", "Mode", "Run", "Scope"),
    "signal": ("SIGNAL_DTYPE", "Signal", "SignalBatch"),
    "stages": ("Injection", "ProbeInjector", "SignalProcessor", "SignalReceiver", "SignalStore"),
    "step": ("Step",),
    "telemetry.traced": ("traced",),
    "verdicts": ("Reason", "Verdict"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "EVIDENCE_DTYPE",
    "PAYLOAD",
    "SIGNAL_DTYPE",
    "UNRECORDED",
    "BackendError",
    "Budget",
    "Candidates",
    "Command",
    "CoverageBot",
    "CoverageDocument",
    "CoverageMap",
    "CoverageOrchestrator",
    "Decision",
    "Diagnosis",
    "EbpfBotError",
    "Evidence",
    "Expectation",
    "Goal",
    "Host",
    "Injection",
    "Layouts",
    "Mode",
    "NothingAttachedError",
    "PatternError",
    "Plan",
    "PlanError",
    "PluginError",
    "Plugins",
    "Policy",
    "ProbeEvidence",
    "ProbeInjector",
    "ProbeKind",
    "ProbePattern",
    "ProbeTable",
    "Reason",
    "Register",
    "Report",
    "Run",
    "Scope",
    "Signal",
    "SignalBatch",
    "SignalProcessor",
    "SignalReceiver",
    "SignalStore",
    "StageChoice",
    "Stages",
    "Step",
    "StoreError",
    "UnifiedPipeline",
    "Verdict",
    "VerdictChanges",
    "escape_bytes",
    "escape_string",
    "hookimpl",
    "traced",
    "unescape_bytes",
    "unescape_string",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
