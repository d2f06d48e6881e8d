"""Refusals: why one site could not be attached, in the words of the evidence."""

from __future__ import annotations

import errno

import attrs

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.kernel_error import ENOTSUPP, KernelError

__all__ = ["Refusal"]

_REASONS = {
    errno.EPERM: Reason.PERMISSION,
    errno.EACCES: Reason.PERMISSION,
    ENOTSUPP: Reason.UNSUPPORTED_INSTRUCTION,  # arch_uprobe_analyze_insn: it must not be moved or stepped
    errno.ENOEXEC: Reason.UNSUPPORTED_INSTRUCTION,  # likewise: it cannot be decoded
    errno.EMFILE: Reason.ATTACH_LIMIT,
    errno.ENFILE: Reason.ATTACH_LIMIT,
    errno.ENOMEM: Reason.ATTACH_LIMIT,
    errno.ENOSPC: Reason.ATTACH_LIMIT,
}


@attrs.frozen
class Refusal:
    """A reason and a sentence that belongs to it."""

    reason: Reason
    detail: str

    @classmethod
    def of(cls, error: KernelError) -> Refusal:
        """Return what the kernel's answer means for a probe."""
        return cls(_REASONS.get(error.errno, Reason.ATTACH_FAILED), error.message)
