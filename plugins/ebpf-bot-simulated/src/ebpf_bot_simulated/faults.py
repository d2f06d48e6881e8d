"""Faults: what can be wrong with one probe, and when that comes to light."""

from __future__ import annotations

import enum
from typing import Final

import attrs

from ebpf_bot_core import Reason, Verdict

__all__ = ["BLIND", "FAULTS", "Fault", "Shown"]


class Shown(enum.Enum):
    """When a fault comes to light."""

    FINDING = "finding"
    ATTACHING = "attaching"
    RUNNING = "running"


@attrs.frozen
class Fault:
    """One thing that can be wrong with a probe.

    Attributes:
        verdict: where the probe then stands.
        detail: the sentence beside the verdict, in the words that a kernel or tool would use.
    """

    reason: Reason
    verdict: Verdict
    shown: Shown
    detail: str


_ALL: Final = (
    Fault(Reason.NOT_FOUND, Verdict.MISSING, Shown.FINDING, "no such symbol or event"),
    Fault(Reason.BINARY_MISSING, Verdict.MISSING, Shown.FINDING, "No such file or directory"),
    Fault(Reason.IMPORTED, Verdict.EXCLUDED, Shown.FINDING, "the symbol is undefined in this file"),
    Fault(Reason.DATA_SYMBOL, Verdict.EXCLUDED, Shown.FINDING, "the symbol's type is OBJECT"),
    Fault(Reason.KERNEL_CONFIG, Verdict.REFUSED, Shown.FINDING, "CONFIG_KPROBES is not set"),
    Fault(Reason.NO_BTF, Verdict.REFUSED, Shown.FINDING, "/sys/kernel/btf/vmlinux does not exist"),
    Fault(Reason.NO_BACKEND, Verdict.REFUSED, Shown.FINDING, "this kind of probe is not served"),
    Fault(Reason.NOT_ELF, Verdict.REFUSED, Shown.FINDING, "the file does not begin with the ELF magic"),
    Fault(Reason.MALFORMED_ELF, Verdict.REFUSED, Shown.FINDING, "a section lies beyond the end of the file"),
    Fault(Reason.UNREADABLE, Verdict.REFUSED, Shown.FINDING, "Permission denied"),
    Fault(Reason.NO_SYMBOLS, Verdict.REFUSED, Shown.FINDING, "the file has neither .symtab nor .dynsym"),
    Fault(Reason.PERMISSION, Verdict.REFUSED, Shown.ATTACHING, "EPERM: Operation not permitted"),
    Fault(Reason.LOCKDOWN, Verdict.REFUSED, Shown.ATTACHING, "EPERM: lockdown is in mode integrity"),
    Fault(
        Reason.VERIFIER_REJECTED, Verdict.REFUSED, Shown.ATTACHING, "EACCES: R1 invalid mem access 'scalar'"
    ),
    Fault(Reason.ATTACH_LIMIT, Verdict.REFUSED, Shown.ATTACHING, "ENOSPC: no room for another probe"),
    Fault(
        Reason.UNSUPPORTED_INSTRUCTION,
        Verdict.REFUSED,
        Shown.ATTACHING,
        "error 524 (ENOTSUPP): the first instruction has a lock prefix",
    ),
    Fault(Reason.ATTACH_FAILED, Verdict.REFUSED, Shown.ATTACHING, "EINVAL: Invalid argument"),
    Fault(Reason.NOT_CALLED, Verdict.SILENT, Shown.RUNNING, ""),
    Fault(Reason.NEVER_EXECUTED, Verdict.SILENT, Shown.RUNNING, ""),
)

FAULTS: Final = {fault.reason.code: fault for fault in _ALL}
"""What the option `faults` may name, by the reason's code."""

_BLINDING: Final = (
    Fault(
        Reason.UNSUPPORTED_INSTRUCTION,
        Verdict.BLIND,
        Shown.RUNNING,
        "attached while its file was not mapped; the kernel could not place it when the file was",
    ),
    Fault(
        Reason.BINARY_REPLACED,
        Verdict.BLIND,
        Shown.RUNNING,
        "another file now has this path; the probe stays with the old one",
    ),
)

BLIND: Final = {fault.reason.code: fault for fault in _BLINDING}
"""What the option `blind` may name, by the reason's code."""
