"""What a hit, or none, says of a function beside whether its entry was reached: what it shares, and what it misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.finding.copies import NO_FAMILY, Family, Make, made_of
from ebpf_bot_libbpf.finding.function_table import FunctionTable
from ebpf_bot_libbpf.finding.standings import Remark

__all__ = ["listed", "remark_on", "remarks_on"]

_NAMED: Final = 4
"""Names in one sentence, at most."""

_SAME_CODE: Final = " are the same code: they fire together, and a hit does not tell which was called"


def remarks_on(table: FunctionTable, rows: NDArray[np.intp]) -> dict[int, Remark]:
    """Return {row: remark} of those of some rows of which there is something to be said."""
    remarks = _on_shared_code(table, rows)
    for row in rows.tolist():
        name = table.names[row]
        if "." in name or name in table.families:
            said = _on_making(table, name)
            if said is not None:
                also = remarks.get(row)
                remarks[row] = attrs.evolve(said, detail=f"{said.detail}; {also.detail}") if also else said
    return remarks


def remark_on(table: FunctionTable, name: str) -> Remark | None:
    """Return what is to be said of a name that has no symbol, but of which copies or parts are there."""
    family = table.families.get(name)
    if family is None:
        return None
    members = list(map(table.row, (*family.copies, *family.parts)))
    shared = [remark.detail for remark in dict.fromkeys(_on_shared_code(table, np.array(members)).values())]
    if family.copies:
        remark = _with_parts(
            Remark(f"there are only copies of it, and it is probed there: {listed(family.copies)}"), family
        )
    else:
        said = f"inlined into its callers but for {listed(family.parts)}, where it is probed"
        remark = Remark(said if shared else f"{said}: a hit proves that it ran", Reason.INLINED)
    return attrs.evolve(remark, detail="; ".join([remark.detail, *shared]))


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b, c, d and 7 more`."""
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _on_making(table: FunctionTable, name: str) -> Remark | None:
    """Return what is to be said of the copies and parts of a function, or of a copy or part."""
    family = table.families.get(name, NO_FAMILY)
    made = made_of(name)
    said = ""
    if family.copies and not table.offset_count(name):
        said = f"an indirect function (GNU_IFUNC), probed at its versions {listed(family.copies)}"
    elif family.copies:
        one = len(family.copies) == 1
        said = f"its {'copy' if one else 'copies'} {listed(family.copies)} {'counts' if one else 'count'} as well"
    elif made is not None and made[1] is Make.COPY:
        said = f"a copy of {made[0]}, for which its hits count as well"
    elif made is not None and made[1] is Make.PART:
        said = f"a part of {made[0]}: a hit proves that {made[0]} ran, no hit proves nothing"
    remark = _with_parts(Remark(said), family)
    return remark if remark.detail else None


def _with_parts(remark: Remark, family: Family) -> Remark:
    if not family.parts:
        return remark
    said = (
        f"where its beginning was inlined into a caller, a run is seen only in {listed(family.parts)}, "
        "if it comes that far"
    )
    return Remark("; ".join(filter(None, (remark.detail, said))), Reason.INLINED)


def _on_shared_code(table: FunctionTable, rows: NDArray[np.intp]) -> dict[int, Remark]:
    """Return what is to be said of aliases, and of functions that the linker has folded into one."""
    order = np.argsort(table.offsets, kind="stable")
    places = table.offsets[order]
    edges = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1], [True]]))
    wanted = np.zeros(len(table.names), np.bool_)
    wanted[rows] = True
    owners = np.repeat(np.arange(len(table.names)), np.diff(table.starts))[order]
    # Of each place: how many share it, and whether any of them was asked for.
    asked = np.add.reduceat(wanted[owners], edges[:-1]) if len(owners) else edges[:-1]
    several = np.flatnonzero((np.diff(edges) > 1) & (asked > 0))
    owner, names = owners.tolist(), table.names
    remarks: dict[int, Remark] = {}
    for start, end in zip(edges[several].tolist(), edges[several + 1].tolist(), strict=True):
        members = owner[start:end]
        said = Remark(f"{listed([names[row] for row in members])}{_SAME_CODE}")
        for row in members:
            if wanted[row]:
                remarks.setdefault(row, said)
    return remarks
