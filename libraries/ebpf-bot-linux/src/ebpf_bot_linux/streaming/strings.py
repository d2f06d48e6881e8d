"""The option `strings`: which arguments are addresses of texts that are to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Evidence, PatternError, PlanError, ProbePattern, ProbeTable
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.streaming.contents import TEXTS, Contents

__all__ = ["wanted_strings"]

_HINT = "an entry is PROBE:ARGUMENT, such as 'syscall:openat:filename' or 'uprobe:/bin/x:f:arg0'"


def wanted_strings(
    strings: Sequence[str],
    find: Callable[[Sequence[ProbePattern]], Evidence],
    probes: ProbeTable,
    contents: Sequence[Contents | None],
) -> dict[str, NDArray[np.bool_]]:
    """Return, by the argument's name, the rows whose argument of that name is to be read as text.

    Args:
        find: says which probes a pattern names.
        contents: of each row.

    Raises:
        PlanError: an entry names no probe of the run, or no argument of it that can be read; it names the nearest.
    """
    rows_of = {name: row for row, name in enumerate(probes)}
    wanted: dict[str, NDArray[np.bool_]] = {}
    for entry in strings:
        text, _, argument = entry.rpartition(":")
        try:
            found = find([ProbePattern.parse(text)]).probes
        except PatternError as error:
            raise PlanError(f"strings: {entry[:200]!r}: {error.message}", hint=_HINT) from error
        rows = [rows_of[name] for name in found if name in rows_of]
        if not rows:
            near = Suggestions().near(text, probes)
            raise PlanError(f"strings: {entry[:200]!r} names no probe of this run{near}", hint=_HINT)
        having = [row for row in rows if argument in _readable(contents[row])]
        if not having:
            names = list(dict.fromkeys(name for row in rows for name in _readable(contents[row])))
            near = Suggestions().near(argument, names)
            listed = (
                f"it has {', '.join(names)}" if names else "it has none that could be the address of a text"
            )
            raise PlanError(
                f"strings: {entry[:200]!r}: {probes[rows[0]]} has no argument {argument[:80]!r}{near}",
                hint=listed,
            )
        wanted.setdefault(argument, np.zeros(len(probes), np.bool_))[having] = True
    _refuse_too_many(wanted, probes)
    return wanted


def _readable(contents: Contents | None) -> list[str]:
    """Return the names of the arguments that may be addresses in the program's memory."""
    if contents is None or not contents.addresses:
        return []
    return [value.name for value in contents.values if value.dtype.itemsize == 8]  # noqa: PLR2004 - an address


def _refuse_too_many(wanted: dict[str, NDArray[np.bool_]], probes: ProbeTable) -> None:
    counts = np.sum(list(wanted.values()), axis=0) if wanted else np.zeros(1)
    if counts.max() > TEXTS:
        raise PlanError(
            f"strings: more than {TEXTS} for {probes[int(counts.argmax())]}",
            hint=f"a record has room for {TEXTS}; leave some out",
        )
