"""uprobe and uretprobe: the functions of binaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind
from ebpf_bot_linux.finding.binaries import Binaries, Examined
from ebpf_bot_linux.finding.binary_probes import BinaryProbes
from ebpf_bot_linux.finding.files import open_file
from ebpf_bot_linux.finding.function_insight import FunctionInsight
from ebpf_bot_linux.finding.function_reader import FunctionReader
from ebpf_bot_linux.finding.function_table import FunctionTable
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.targets import Targets
from ebpf_bot_linux.points import FunctionPoint

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
        _points,
        targets,
        suggestions,
        what="function",
        everything="*",
        insight=FunctionInsight(),
    )


def _points(
    kind: ProbeKind, examined: Examined[FunctionTable], names: Sequence[str]
) -> list[FunctionPoint | None]:
    """Return the points of some names, with places for uprobes that are chosen for all of them at once."""
    table = examined.content
    entries, counts = table.entries(names)
    offsets, behind = table.offsets[entries], table.behind[entries]
    at_entry, sites = behind == 0, offsets + behind
    if kind is ProbeKind.UPROBE:
        distinct, place = np.unique(sites[at_entry], return_inverse=True)
        sites[at_entry] = _chosen(examined, distinct)[place]
    offset, direct = offsets.tolist(), at_entry.tolist()
    site = offset if np.array_equal(sites, offsets) else sites.tolist()
    points: list[FunctionPoint | None] = []
    end = 0
    for count in counts.tolist():
        start, end = end, end + count
        entry = tuple([offset[at] for at in range(start, end) if direct[at]])
        if kind is ProbeKind.URETPROBE:
            points.append(FunctionPoint(examined.binary, entry, on_return=True) if entry else None)
            continue
        chosen = tuple(site[start:end])
        # Most are the entries themselves; a million points need not hold them twice.
        chosen = entry if chosen == entry else chosen
        points.append(FunctionPoint(examined.binary, entry, False, chosen) if chosen else None)
    return points


def _chosen(examined: Examined[FunctionTable], entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return where functions are best probed; at their entries if the file is no longer the one that was examined."""
    binary = examined.binary
    try:
        with open_file(binary.path) as file:
            if file.identity == (binary.device, binary.inode, binary.mtime_ns, binary.size):
                return examined.content.chooser.choose(file, entries)
    except (UnprobeableError, EOFError, OSError):
        pass  # attaching will say what has become of it
    return entries
