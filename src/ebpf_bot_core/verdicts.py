"""The ladder of verdicts, and the one list of reasons for which a probe has not fired."""

from __future__ import annotations

import enum
from typing import Self

__all__ = ["Reason", "Verdict"]


class Verdict(enum.IntEnum):
    """What is known of a probe on a host; evidence only ever climbs this ladder.

    The JSON value is the name in lower case.
    """

    PENDING = 0
    """Not examined, or not attached yet."""
    MISSING = 1
    """Not on this host."""
    REFUSED = 2
    """There, but it cannot be attached."""
    EXCLUDED = 3
    """No such thing to probe; it leaves the denominator, visibly."""
    SILENT = 4
    """Attached and live, but it has not fired."""
    BLIND = 5
    """Attached as far as the kernel says, but shown unable to fire."""
    FIRED = 6
    """It fired at least once."""

    @property
    def label(self) -> str:
        """The name as JSON, metrics and reports write it."""
        return self.name.lower()


class Reason(enum.IntEnum):
    """Why a probe has not fired: a code that programs compare, and a hint that people follow.

    The numbers are stored, so they are never reused; within one verdict the reason of the higher `rank` is kept when
    two pieces of evidence differ.
    """

    hint: str
    """What to do about it, one sentence."""

    def __new__(cls, number: int, hint: str) -> Self:
        """Pair the number with the sentence that says what to do about it."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.hint = hint
        return member

    NONE = (0, "")
    NOT_EXAMINED = (1, "run the plan on this host")
    BUDGET = (2, "raise [budget] in the plan, or run longer so that probes can rotate")
    NOT_FOUND = (10, "check the spelling with `ebpf-bot probes PATTERN`")
    BINARY_MISSING = (11, "give the path of an existing file, or install the program")
    PERMISSION = (20, "run as root or with CAP_BPF and CAP_PERFMON; `ebpf-bot doctor` shows what is missing")
    LOCKDOWN = (21, "the kernel is locked down; boot with lockdown=none or use another kind of probe")
    KERNEL_CONFIG = (22, "this kernel was built without it; use another kind of probe or another kernel")
    NO_BTF = (23, "the kernel has no BTF; use one built with CONFIG_DEBUG_INFO_BTF")
    VERIFIER_REJECTED = (24, "the verifier's log says why")
    ATTACH_LIMIT = (25, "the kernel's limit on probes is reached; lower max_attached in the plan")
    NO_BACKEND = (26, "this backend does not serve this kind of probe; choose another with --backend")
    NOT_ELF = (27, "give the program or library itself, not a script or data file")
    MALFORMED_ELF = (28, "the file is damaged or was made to look like ELF; rebuild or reinstall it")
    UNREADABLE = (29, "make the file readable for the user that runs ebpf-bot")
    NO_SYMBOLS = (30, "the binary is stripped; install its debug symbols")
    UNSUPPORTED_INSTRUCTION = (
        31,
        "the kernel cannot place a probe on this instruction; probe a caller or callee",
    )
    ATTACH_FAILED = (32, "the kernel's answer is in the detail")
    INDIRECT_FUNCTION = (
        33,
        "only what chooses an implementation can be probed: probe the implementations by their own names",
    )
    IMPORTED = (40, "the function lives in another library; probe it there")
    DATA_SYMBOL = (41, "it is data, not code; nothing can run there")
    SPLIT_PART = (42, "it is a part of a function, not one that is called; probe the function")
    NEVER_EXECUTED = (50, "the program or library it is in was not loaded while the probe was attached")
    NOT_CALLED = (
        51,
        "nothing called it while the probe was attached: exercise it, or expect less",
    )
    INLINED = (
        52,
        "the compiler put it into its callers, where no probe sees it: probe a caller, or build with -fno-inline",
    )
    BINARY_REPLACED = (60, "the file was replaced after attaching; start the run again")
    OTHER_FILE = (65, "a covered process runs another file at this path; expect that one as well")

    @property
    def rank(self) -> int:
        """The number, except that `BUDGET` outranks all: what was seen of a probe that the budget took off is not all."""
        # One byte holds a reason, so nothing can be above it.
        return 255 if self is Reason.BUDGET else int(self)

    @property
    def code(self) -> str:
        """The documented word, such as `not-found`; empty for `NONE`."""
        return "" if self is Reason.NONE else self.name.lower().replace("_", "-")
