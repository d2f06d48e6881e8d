"""Attaching sites: one room for each kind of site, all with the same door, and what they say of sites refused.

The rooms are `code_places` and `code_events` (uprobe, uretprobe, usdt: by one link, or each by a perf event),
`kernel_functions` (kprobe, kretprobe, fentry, fexit) and `kernel_events` (tracepoint, raw tracepoint, syscall, software).
`choosing` chooses among them.
"""

from __future__ import annotations

import errno
from typing import Final, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.kernel.kernel_error import ENOTSUPP, KernelError

__all__ = ["Attacher", "Refusal"]

_REASONS: Final = {
    errno.EPERM: Reason.PERMISSION,
    errno.EACCES: Reason.PERMISSION,
    errno.ENODEV: Reason.KERNEL_CONFIG,
    errno.EOPNOTSUPP: Reason.KERNEL_CONFIG,
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


class Attacher(Protocol):
    """Attaches and detaches the members of one group of sites; member i is the site `group.first + i`."""

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members that are not attached, as many as the kernel takes; return the others, with the reason."""
        ...

    def detach(self, members: NDArray[np.intp]) -> None:
        """Begin to detach members that are attached; those that stay miss nothing.

        Raises:
            KernelError: nothing was detached.
        """
        ...

    def close(self) -> None:
        """Begin to detach all. May be called twice."""
        ...
