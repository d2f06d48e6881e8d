"""What the names in a binary stand for, and what that says of a probe."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.finding.answers import Answers

__all__ = ["HOPELESS", "WHOLE", "Remarks", "Standing", "stated"]


class Standing(enum.IntEnum):
    """What a name stands for; one that stands for several things, for the highest of them."""

    DATA = 0
    """Symbols of data only."""
    IMPORT = 1
    """A function that another file defines."""
    SPLIT = 2
    """A part that the compiler moved out of a function, which is jumped to."""
    ASTRAY = 3
    """Code whose address lies outside the executable segments: the file contradicts itself."""
    MISPLACED = 4
    """A USDT point where there is no nop: nothing says that an instruction begins there at all."""
    UNARMED = 5
    """Code with a semaphore that the kernel could not raise where the file says that it is."""
    BLIND = 6
    """Code on whose first instruction uprobes refuse to be placed."""
    HARMED = 7
    """Code whose first instruction uprobes would run wrongly."""
    BEHIND = 8
    """Code that cannot be probed at its first instruction, but at a later one that always follows."""
    CODE = 9
    """Code that can be probed."""
    RESOLVER = 10
    """A GNU_IFUNC: the function at its address only chooses an implementation, when the file is linked."""


HOPELESS: Final = (Standing.HARMED, Standing.BLIND)
WHOLE: Final = (*HOPELESS, Standing.BEHIND, Standing.CODE)
"""Code of a function."""

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
    Standing.SPLIT: (
        Verdict.EXCLUDED,
        Reason.SPLIT_PART,
        "rarely run blocks of a function, moved out of it and jumped to; they have no entry of their own",
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
        Verdict.BLIND,
        Reason.INDIRECT_FUNCTION,
        (
            "an indirect function (GNU_IFUNC): the code under its name runs when the file is linked, to choose an "
            "implementation, and never again"
        ),
    ),
}
_VERDICT: Final = np.array([_MEANING[standing][0] for standing in Standing], np.uint8)
_REASON: Final = np.array([_MEANING[standing][1] for standing in Standing], np.uint8)
_DETAIL: Final = [_MEANING[standing][2] for standing in Standing]


@attrs.define
class Remarks:
    """What is to be said of probes that can be placed, each by its number among some.

    Attributes:
        details: sentences.
        silence: the reasons that their silence would have, of those for which it is another than any probe's.
    """

    details: dict[int, str] = attrs.field(factory=dict)
    silence: dict[int, Reason] = attrs.field(factory=dict)

    def add(self, number: int, detail: str, silence: Reason = Reason.NONE) -> None:
        """Say one thing more of a probe."""
        known = self.details.get(number)
        self.details[number] = f"{known}; {detail}" if known else detail
        if silence:
            self.silence[number] = silence

    def add_to_all(self, numbers: Iterable[int], detail: str) -> None:
        """Say the same of several probes, in one string; negative numbers are nobody's."""
        details = self.details
        for number in numbers:
            if number >= 0:
                details[number] = f"{details[number]}; {detail}" if number in details else detail


def stated(probes: Sequence[str], standing: NDArray[np.uint8], remarks: Remarks) -> Answers:
    """Return for each of some probes, as if the pattern 0 had named it, what its `Standing` means.

    Args:
        remarks: what else is to be said of those that can be probed.
    """
    reason = _REASON[standing]
    details = {row: _DETAIL[standing[row]] for row in np.flatnonzero(standing != Standing.CODE).tolist()}
    for row, silence in remarks.silence.items():
        reason[row] = silence
    for row, said in remarks.details.items():
        details[row] = f"{details[row]}; {said}" if row in details else said
    asked = np.zeros(len(probes), np.intp)
    return Answers(asked, probes, _VERDICT[standing], reason, details)
