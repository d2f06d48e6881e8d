"""usdt: the probes that the authors of a binary put into it."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_bot_core import ProbeKind
from ebpf_bot_linux.finding.binaries import Binaries, Examined
from ebpf_bot_linux.finding.binary_probes import BinaryProbes
from ebpf_bot_linux.finding.insight import NoInsight
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.targets import Targets
from ebpf_bot_linux.finding.usdt_table import UsdtTable, read_usdt
from ebpf_bot_linux.points import UsdtPoint

__all__ = ["usdt_probes"]


def usdt_probes(targets: Targets, suggestions: Suggestions) -> BinaryProbes[UsdtTable]:
    """Return what finds usdt:BINARY:PROVIDER:NAME, as the notes of the binary list them."""
    binaries = Binaries(read_usdt)
    return BinaryProbes(
        binaries,
        _points,
        targets,
        suggestions,
        what="USDT probe",
        everything="*:*",
        insight=NoInsight(),
    )


def _points(_: ProbeKind, examined: Examined[UsdtTable], names: Sequence[str]) -> list[UsdtPoint | None]:
    table = examined.content
    found = [(table.sites_of(name), table.arguments_of(name)) for name in names]
    return [UsdtPoint(examined.binary, sites, arguments) if sites else None for sites, arguments in found]
