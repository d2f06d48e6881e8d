"""Sites: the places that are really attached to, numbered, and how they and the probes belong together.

A probe may have several sites (static functions of one name), and several probes one site (aliases), so the two are
joined by pairs. A site's number is the index of its counter and the cookie of its link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Mode
from ebpf_bot_linux.points import (
    Binary,
    CodePoint,
    FentryPoint,
    FunctionPoint,
    KernelPoint,
    KprobePoint,
    Point,
    RawTracepointPoint,
    SoftwarePoint,
    SyscallExitPoint,
    SyscallPoint,
    TracepointPoint,
    UsdtPoint,
)

__all__ = ["CodeKind", "KernelKind", "Key", "SiteGroup", "Sites"]

Key = int | str | tuple[int, int]
"""What tells a site from the others of its group."""

_FIRST = 1
"""Number 0 means `no site` to the programs."""


@attrs.frozen
class CodeKind:
    """Places in the code of one binary, or the returns from there; their keys are file offsets.

    Attributes:
        of_notes: whether notes of the binary say what is to be read there (USDT). In count mode nothing is read, so a
            place is one site whoever named it.
        program: what serves them, where that is not the asset's program for such places.
    """

    binary: Binary
    on_return: bool
    of_notes: bool = False
    program: str = ""


@attrs.frozen
class KernelKind:
    """Events of the kernel that points of one type name; their keys are ids, names, numbers, or event and period.

    Attributes:
        program: as for `CodeKind`.
    """

    point: type[KernelPoint]
    on_return: bool = False
    program: str = ""


@attrs.frozen
class SiteGroup:
    """Sites that are attached in the same way, with consecutive numbers.

    Attributes:
        first: the number of the group's first site.
        keys: what tells each site from the others of its group, in the order of their numbers.
        semaphores: of those places in code that have one, the file offset, by their keys. Whatever is probed at a
            place, the kernel insists on the same semaphore there; the first that a point names is taken.
    """

    kind: CodeKind | KernelKind
    first: int
    keys: tuple[Key, ...]
    semaphores: Mapping[Key, int] = attrs.field(factory=dict)

    @property
    def end(self) -> int:
        """One more than the number of the group's last site."""
        return self.first + len(self.keys)


@attrs.frozen(eq=False)
class Sites:
    """All sites of a table of probes.

    Attributes:
        groups: the sites by kind.
        pair_row: shape (n,), the rows of the pairs, ascending; pair i joins it to site `pair_site[i]`.
        binaries: the binaries that probed code lies in.
        binary_of_row: shape (rows,), an index into `binaries`; -1 for a probe of the kernel or of nothing.
        behind_entry: {row: bytes}, for functions that are probed behind their entries since that costs less.
        first_load_site: the number of the site that counts how often `binaries[0]` is loaded; the others follow.
        size: one more than the highest number.
    """

    groups: tuple[SiteGroup, ...]
    pair_row: NDArray[np.intp]
    pair_site: NDArray[np.intp]
    binaries: tuple[Binary, ...]
    binary_of_row: NDArray[np.intp]
    behind_entry: Mapping[int, int]
    first_load_site: int
    size: int

    @classmethod
    def of(
        cls, points: Sequence[Point | None], mode: Mode = Mode.COUNT, programs: Sequence[str] = ()
    ) -> Sites:
        """Return the sites of the points of a table's rows, numbered; None stands for a row with nothing to attach.

        Args:
            mode: functions are counted where a hit costs least, but their arguments are only at their entries.
            programs: what serves each row, in their order, where the asset's programs do not. Rows that are served by
                different programs share no site. Such a program may read arguments, whatever the mode.
        """
        wanted: dict[CodeKind | KernelKind, tuple[list[int], list[Key]]] = {}
        for row, point in enumerate(points):
            if point is not None:
                kind, keys = _kind_and_keys(point, Mode.STREAM if programs else mode)
                if programs:
                    kind = attrs.evolve(kind, program=programs[row])
                rows, members = wanted.setdefault(kind, ([], []))
                rows += [row] * len(keys)
                members += keys
        semaphores = _semaphores(points)
        groups = []
        pair_row, pair_site = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
        first = _FIRST
        for kind, (rows, members) in wanted.items():
            numbers: dict[Key, int] = {}
            for key in members:
                numbers.setdefault(key, first + len(numbers))
            pair_row.append(np.array(rows, np.intp))
            pair_site.append(np.fromiter((numbers[key] for key in members), np.intp, len(members)))
            known = semaphores.get(kind.binary, {}) if isinstance(kind, CodeKind) else {}
            held = {key: known[key] for key in known.keys() & numbers.keys()}
            groups.append(SiteGroup(kind, first, tuple(numbers), held))
            first += len(numbers)
        binaries = dict.fromkeys(kind.binary for kind in wanted if isinstance(kind, CodeKind))
        number_of = {binary: i for i, binary in enumerate(binaries)}
        every_row, every_site = np.concatenate(pair_row), np.concatenate(pair_site)
        order = np.lexsort((every_site, every_row))
        return cls(
            tuple(groups),
            every_row[order],
            every_site[order],
            tuple(number_of),
            np.array(
                [number_of[p.binary] if isinstance(p, FunctionPoint | UsdtPoint) else -1 for p in points],
                np.intp,
            ),
            _behind_entry(points) if mode is Mode.COUNT and not programs else {},
            first,
            first + len(number_of),
        )

    def of_rows(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the sites that at least one of some rows has; both are masks."""
        return self._any(self.pair_site[rows[self.pair_row]], self.size)

    def rows_with(self, sites: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the rows that have at least one of some sites; both are masks."""
        return self._any(self.pair_row[sites[self.pair_site]], len(self.binary_of_row))

    @staticmethod
    def _any(positions: NDArray[np.intp], size: int) -> NDArray[np.bool_]:
        mask = np.zeros(size, np.bool_)
        mask[positions] = True
        return mask


def _semaphores(points: Sequence[Point | None]) -> dict[Binary, dict[Key, int]]:
    """Return {binary: {offset of a place: offset of its semaphore}} of the places that have one."""
    found: dict[Binary, dict[Key, int]] = {}
    for point in points:
        if isinstance(point, UsdtPoint):
            of_binary = found.setdefault(point.binary, {})
            for offset, semaphore in point.sites:
                if semaphore:
                    of_binary.setdefault(offset, semaphore)
    return found


def _behind_entry(points: Sequence[Point | None]) -> dict[int, int]:
    return {
        row: distance
        for row, point in enumerate(points)
        if isinstance(point, FunctionPoint) and (distance := point.moved)
    }


def _kind_and_keys(point: Point, mode: Mode) -> tuple[CodeKind | KernelKind, tuple[Key, ...]]:
    kind: CodeKind | KernelKind = (
        KernelKind(type(point)) if isinstance(point, KernelPoint) else _code_kind(point)
    )
    keys: tuple[Key, ...]
    match point:
        case FunctionPoint():
            counted = mode is Mode.COUNT and not point.on_return
            keys = point.sites if counted else point.offsets
        case UsdtPoint():
            keys = tuple(dict.fromkeys(offset for offset, _ in point.sites))
            kind = CodeKind(point.binary, on_return=False, of_notes=mode is Mode.STREAM)
        case KprobePoint():
            kind, keys = KernelKind(KprobePoint, point.on_return), point.functions
        case FentryPoint():
            kind, keys = KernelKind(FentryPoint, point.on_return), (point.btf_id,)
        case SoftwarePoint():
            keys = ((point.event, point.period),)
        case TracepointPoint():
            if point.below is not None and mode is Mode.COUNT:
                return _kind_and_keys(point.below, mode)
            keys = (point.id,)
        case RawTracepointPoint():
            keys = (point.name,)
        case SyscallPoint() | SyscallExitPoint():
            keys = (point.number,)
    return kind, keys


def _code_kind(point: CodePoint) -> CodeKind:
    return CodeKind(point.binary, on_return=isinstance(point, FunctionPoint) and point.on_return)
