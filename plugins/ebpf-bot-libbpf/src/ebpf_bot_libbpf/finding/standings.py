"""What the names in a binary stand for, and what that says of a probe."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Evidence, ProbeTable, Reason, Verdict

__all__ = ["Standing", "stated"]


class Standing(enum.IntEnum):
    """What a name stands for; one that stands for several things, for the highest of them."""

    DATA = 0
    """Symbols of data only."""
    IMPORT = 1
    """A function that another file defines."""
    ASTRAY = 2
    """Code whose address lies outside the executable segments: the file contradicts itself."""
    MISPLACED = 3
    """A USDT point where there is no nop: nothing says that an instruction begins there at all."""
    UNARMED = 4
    """Code with a semaphore that the kernel could not raise where the file says that it is."""
    BLIND = 5
    """Code on whose first instruction uprobes refuse to be placed."""
    HARMED = 6
    """Code whose first instruction uprobes would run wrongly."""
    BEHIND = 7
    """Code that cannot be probed at its first instruction, but at a later one that always follows."""
    CODE = 8
    """Code that can be probed."""
    RESOLVER = 9
    """A GNU_IFUNC: the function at its address only chooses an implementation, when the file is linked."""


_MEANING: Final = {
    Standing.DATA: (
        Verdict.EXCLUDED,
        Reason.DATA_SYMBOL,
        "a symbol of data; no code is there that could run",
    ),
    Standing.IMPORT: (
        Verdict.EXCLUDED,
        Reason.IMPORTED,
        "imported here; its code is in another library, where it can be probed",
    ),
    Standing.ASTRAY: (
        Verdict.REFUSED,
        Reason.MALFORMED_ELF,
        "its address lies outside the executable parts of the file",
    ),
    Standing.MISPLACED: (
        Verdict.REFUSED,
        Reason.MALFORMED_ELF,
        "its note names a place without the nop that the macros of sys/sdt.h leave; a probe could damage the program",
    ),
    Standing.UNARMED: (
        Verdict.REFUSED,
        Reason.MALFORMED_ELF,
        "its semaphore lies outside the writable parts of the file, or at an odd place",
    ),
    Standing.BLIND: (
        Verdict.BLIND,
        Reason.UNSUPPORTED_INSTRUCTION,
        (
            "the kernel refuses uprobes on its first instruction, as on those with a LOCK or segment prefix, breakpoints "
            "and some of AVX; while no process maps the file it would accept the probe, and it would never fire"
        ),
    ),
    Standing.HARMED: (
        Verdict.REFUSED,
        Reason.UNSUPPORTED_INSTRUCTION,
        "the kernel would run its first instruction wrongly, so that a probe there changed the program",
    ),
    Standing.BEHIND: (
        Verdict.PENDING,
        Reason.NOT_EXAMINED,
        "its first instruction cannot be probed, so it is probed at a later one that always follows",
    ),
    Standing.CODE: (Verdict.PENDING, Reason.NOT_EXAMINED, ""),
    Standing.RESOLVER: (
        Verdict.PENDING,
        Reason.NOT_EXAMINED,
        "an indirect function (GNU_IFUNC): what is probed is its resolver, which runs when the file is linked",
    ),
}
_VERDICT: Final = np.array([_MEANING[standing][0] for standing in Standing], np.uint8)
_REASON: Final = np.array([_MEANING[standing][1] for standing in Standing], np.uint8)
_DETAIL: Final = [_MEANING[standing][2] for standing in Standing]


def stated(probes: Sequence[str], standing: NDArray[np.uint8]) -> Evidence:
    """Return a row for each of some probes, each given once, that says what its `Standing` means."""
    evidence = Evidence.pending(ProbeTable(tuple(probes)))
    evidence.columns["verdict"] = _VERDICT[standing]
    evidence.columns["reason"] = _REASON[standing]
    for i in np.flatnonzero(standing != Standing.CODE).tolist():
        evidence.details[i] = _DETAIL[standing[i]]
    return evidence
