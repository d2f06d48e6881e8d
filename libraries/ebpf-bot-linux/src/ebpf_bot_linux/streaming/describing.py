"""Describing: what the records of each row of a table hold, by asking the finder."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cached_property

import attrs

from ebpf_bot_core import ProbeTable
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.kernel_names import syscall_arguments
from ebpf_bot_linux.finding.prototypes import Prototypes, read_prototypes
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.tracepoint_format import tracepoint_fields
from ebpf_bot_linux.finding.usdt_arguments import Operand, usdt_arguments
from ebpf_bot_linux.points import (
    Binary,
    FunctionPoint,
    Point,
    RawTracepointPoint,
    SyscallPoint,
    TracepointPoint,
    UsdtPoint,
)
from ebpf_bot_linux.sites import CodeKind, Sites
from ebpf_bot_linux.streaming.contents import (
    FUNCTION,
    RETURN,
    Contents,
    of_arguments,
    of_tracepoint,
    of_usdt,
)

__all__ = ["Described", "describe"]

_UNNAMED = tuple((f"arg{i}", "<i8") for i in range(6))


@attrs.frozen
class Described:
    """What is known of the records of a run.

    Attributes:
        contents: of each row; None for one of which nothing is known beside who hit it.
        operands: where the arguments of the USDT probe at a site are.
    """

    contents: tuple[Contents | None, ...]
    operands: dict[int, tuple[Operand | None, ...]]


def describe(finder: Finder, probes: ProbeTable, points: Sequence[Point | None], sites: Sites) -> Described:
    """Say what the records of each row hold; what cannot be found out is left out, never an error."""
    describer = _Describer(finder)
    contents = [
        None if point is None else describer.contents(name, point)
        for name, point in zip(probes, points, strict=True)
    ]
    number_of = {
        (group.kind.binary, key): group.first + i
        for group in sites.groups
        if isinstance(group.kind, CodeKind) and group.kind.of_notes
        for i, key in enumerate(group.keys)
    }
    operands = {number_of[place]: listed for place, listed in describer.operands.items()}
    return Described(tuple(contents), operands)


class _Describer:
    """Knows what it has read; one for a table.

    Attributes:
        operands: by the binary and the place in it.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._machine = platform.machine()
        self.operands: dict[tuple[Binary, int], tuple[Operand | None, ...]] = {}

    def contents(self, name: str, point: Point) -> Contents | None:
        match point:
            case FunctionPoint():
                return RETURN if point.on_return else FUNCTION
            case SyscallPoint():
                return of_arguments(self._syscalls.get(name.partition(":")[2], _UNNAMED))
            case RawTracepointPoint():
                return of_arguments(self._prototypes.get(point.name, ()), of_kernel=True)
            case TracepointPoint():
                return self._tracepoint(name)
            case UsdtPoint():
                return self._usdt(point)
            case _:  # what stream mode refuses
                return None

    def _tracepoint(self, name: str) -> Contents | None:
        _, category, event = name.split(":", 2)
        try:
            return of_tracepoint(tracepoint_fields(self._finder.tracepoint_format(category, event)))
        except UnprobeableError:
            return None

    def _usdt(self, point: UsdtPoint) -> Contents | None:
        listed = [usdt_arguments(text, self._machine) for text in point.arguments]
        for (offset, _), operands in zip(point.sites, listed, strict=True):
            # Two notes of one place that say different things cannot both be served: the first one is.
            if self.operands.setdefault((point.binary, offset), operands) != operands:
                return None
        return of_usdt(listed)

    @cached_property
    def _syscalls(self) -> dict[str, tuple[tuple[str, str], ...]]:
        return syscall_arguments()

    @cached_property
    def _prototypes(self) -> Prototypes:
        return read_prototypes()
