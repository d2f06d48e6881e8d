"""Which symbols of a binary are what the compiler has made of its functions, by their names and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.copies import Family, families
from ebpf_bot_linux.finding.standings import WHOLE, Standing

__all__ = ["made_families", "with_aliases"]


def made_families(
    names: Sequence[str], standing: NDArray[np.uint8]
) -> tuple[Mapping[str, Family], NDArray[np.bool_]]:
    """Return what the compiler has made of functions, and which of the names are those of cold parts."""
    dotted = [i for i, name in enumerate(names) if "." in name]
    functions = {names[i]: i for i in dotted if standing[i] in WHOLE}
    if not functions:
        return {}, np.zeros(len(names), np.bool_)
    indirect = {names[i] for i in np.flatnonzero(standing == Standing.RESOLVER).tolist()}
    made, cold = families(functions, indirect, frozenset(names))
    is_cold = np.zeros(len(names), np.bool_)
    is_cold[[functions[name] for name in cold]] = True
    return made, is_cold


def with_aliases(
    made: Mapping[str, Family], names: Sequence[str], owner: NDArray[np.intp], offsets: NDArray[np.uint64]
) -> Mapping[str, Family]:
    """Return the families also by the other names of their functions: what is at one place has the same copies."""
    if not made:
        return made
    order = np.argsort(offsets, kind="stable")
    places = offsets[order]
    known = np.array([name in made for name in names], np.bool_)
    whole = dict(made)
    for at in np.flatnonzero(known[owner]).tolist():
        start, end = (
            np.searchsorted(places, offsets[at], "left"),
            np.searchsorted(places, offsets[at], "right"),
        )
        for alias in owner[order[start:end]].tolist():
            whole.setdefault(names[alias], made[names[owner[at]]])
    return whole
