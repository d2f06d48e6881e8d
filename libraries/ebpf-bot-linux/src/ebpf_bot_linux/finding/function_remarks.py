"""What a hit, or none, says of a function beside whether its entry was reached: what it shares, and what it misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind, Reason
from ebpf_bot_linux.finding.copies import NO_FAMILY, Family, Make, made_of
from ebpf_bot_linux.finding.function_table import FunctionTable
from ebpf_bot_linux.finding.standings import Remarks, Standing

__all__ = ["listed", "remark_on", "remarks_on"]

_NAMED: Final = 4
"""Names in one sentence, at most."""

_SAME_CODE: Final = " are the same code: they fire together, and a hit does not tell which was called"


def remarks_on(table: FunctionTable, kind: ProbeKind, rows: NDArray[np.intp]) -> Remarks:
    """Return what is to be said of some rows, by their numbers among `rows`."""
    number = np.full(len(table.names), -1)
    code = np.flatnonzero(table.standing[rows] == Standing.CODE)
    number[rows[code]] = code
    remarks = Remarks()
    making = set(table.families).union(*((*each.copies, *each.parts) for each in table.families.values()))
    for name in sorted(making):
        i = number[table.row(name)] if name in table else -1
        if i >= 0:
            for said, silence in _on_making(table, name):
                remarks.add(int(i), said, silence)
    for members, said in _shared_code(table, number):
        remarks.add_to_all(members, said)
    _remark_on_unseen(remarks, table, kind, rows)
    return remarks


def _remark_on_unseen(
    remarks: Remarks, table: FunctionTable, kind: ProbeKind, rows: NDArray[np.intp]
) -> None:
    """Say of functions that are at several places at how many of these nothing is seen."""
    number = dict(zip(rows.tolist(), range(len(rows)), strict=True))
    standings = table.standings(kind)
    for name in table.unseen_returns if kind is ProbeKind.URETPROBE else table.unseen_calls:
        row = table.row(name) if name in table else -1
        if row in number and standings[row] in (Standing.CODE, Standing.BEHIND):
            for said, silence in _on_unseen(table, kind, name):
                remarks.add(number[row], said, silence)


def _on_unseen(table: FunctionTable, kind: ProbeKind, name: str) -> Iterator[tuple[str, Reason]]:
    entries, _ = table.entries([name])
    if kind is ProbeKind.URETPROBE:
        unseen = table.unseen_returns.get(name, 0)
        seen = int((table.behind[entries] == 0).sum())
    else:
        unseen, seen = table.unseen_calls.get(name, 0), len(entries)
    if unseen:
        said = f"{unseen} of {unseen + seen} places cannot be probed: what runs there is not seen"
        yield said, Reason.UNSUPPORTED_INSTRUCTION


def remark_on(table: FunctionTable, name: str) -> tuple[Reason, str] | None:
    """Return what is to be said of a name that has no symbol, but of which copies or parts are there.

    The reason is that of its silence.
    """
    family = table.families.get(name)
    if family is None:
        return None
    number = np.full(len(table.names), -1)
    number[[table.row(member) for member in (*family.copies, *family.parts)]] = 0
    shared = [said for _, said in _shared_code(table, number)]
    parts = [said for said, _ in _on_parts(family)] if family.copies else []
    if family.copies:
        said = f"there are only copies of it, and it is probed there: {listed(family.copies)}"
    else:
        said = f"inlined into its callers but for {listed(family.parts)}, where it is probed"
        said = said if shared else f"{said}: a hit proves that it ran"
    unseen = list(_on_unseen(table, ProbeKind.UPROBE, name))
    silence = [Reason.INLINED] if family.parts else [reason for _, reason in unseen]
    said = "; ".join([said, *parts, *shared, *(what for what, _ in unseen)])
    return (silence or [Reason.NOT_EXAMINED])[0], said


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b, c, d and 7 more`."""
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _on_making(table: FunctionTable, name: str) -> Iterator[tuple[str, Reason]]:
    """Yield what is to be said of the copies and parts of a function, or of a copy or part."""
    family = table.families.get(name, NO_FAMILY)
    origin, make = made_of(name) or ("", None)
    copies = listed(family.copies)
    if family.copies and not table.offset_count(name):
        yield f"an indirect function (GNU_IFUNC), probed at its versions {copies}", Reason.NONE
    elif len(family.copies) == 1:
        yield f"its copy {copies} counts as well", Reason.NONE
    elif family.copies:
        yield f"its copies {copies} count as well", Reason.NONE
    elif make is Make.COPY:
        yield f"a copy of {origin}, for which its hits count as well", Reason.NONE
    elif make is Make.PART:
        yield f"a part of {origin}: a hit proves that {origin} ran, no hit proves nothing", Reason.NONE
    yield from _on_parts(family)


def _on_parts(family: Family) -> Iterator[tuple[str, Reason]]:
    if family.parts:
        where = f"a run is seen only in {listed(family.parts)}, if it comes that far"
        yield f"where its beginning was inlined into a caller, {where}", Reason.INLINED


def _shared_code(table: FunctionTable, number: NDArray[np.intp]) -> Iterator[tuple[list[int], str]]:
    """Yield the numbers of names that are at one place, and what is to be said of them.

    These are aliases, and functions that the linker has folded into one. It must be quick: libc has thousands.

    Args:
        number: of each row, -1 for those of which nothing need be said.
    """
    order = np.argsort(table.offsets, kind="stable")
    places = table.offsets[order]
    edges = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1], [True]]))
    owner = np.repeat(np.arange(len(table.names)), np.diff(table.starts))[order]
    numbers = number[owner]
    if not len(owner):
        return
    wanted = np.maximum.reduceat(numbers, edges[:-1]) >= 0
    several = np.flatnonzero((np.diff(edges) > 1) & wanted)
    owners, numbered, names = owner.tolist(), numbers.tolist(), table.names
    for start, end in zip(edges[several].tolist(), edges[several + 1].tolist(), strict=True):
        said = listed([names[row] for row in owners[start:end]])
        yield numbered[start:end], said + _SAME_CODE
