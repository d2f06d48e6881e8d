"""uprobe and uretprobe: the functions of binaries."""

from __future__ import annotations

from pathlib import Path

from ebpf_bot_core import ProbeKind, ProbePattern
from ebpf_bot_libbpf.finding.binaries import Binaries, Examined
from ebpf_bot_libbpf.finding.binary_probes import BinaryProbes
from ebpf_bot_libbpf.finding.function_insight import FunctionInsight
from ebpf_bot_libbpf.finding.function_reader import FunctionReader
from ebpf_bot_libbpf.finding.function_table import FunctionTable
from ebpf_bot_libbpf.finding.suggestions import Suggestions
from ebpf_bot_libbpf.finding.targets import Targets
from ebpf_bot_libbpf.points import FunctionPoint

__all__ = ["function_probes"]


def function_probes(
    debug_root: Path, targets: Targets, suggestions: Suggestions
) -> BinaryProbes[FunctionTable]:
    """Return what finds functions in binaries, for uprobes and uretprobes alike.

    Args:
        debug_root: where separate debug files are, under `.build-id`.
    """
    binaries = Binaries(FunctionReader(debug_root))
    return BinaryProbes(
        binaries,
        _point,
        targets,
        suggestions,
        what="function",
        everything="*",
        insight=FunctionInsight(),
    )


def _point(parts: ProbePattern, examined: Examined[FunctionTable]) -> FunctionPoint | None:
    offsets = examined.content.offsets_of(parts.name)
    on_return = parts.kind is ProbeKind.URETPROBE
    return FunctionPoint(examined.binary, offsets, on_return) if offsets else None
