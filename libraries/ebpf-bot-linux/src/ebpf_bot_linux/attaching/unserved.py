"""Sites that no program of this mode serves on this kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.attaching.attacher import Refusal

__all__ = ["NEEDS_COOKIES", "NEEDS_UPROBE_MULTI", "NO_RECORDS", "Unserved"]

NO_RECORDS = Refusal(
    Reason.NO_BACKEND, "stream mode has no records for this kind of probe; count mode counts it"
)
NEEDS_COOKIES = Refusal(
    Reason.KERNEL_CONFIG, "in stream mode raw tracepoints need cookies, kernel 6.10; count mode counts them"
)
NEEDS_UPROBE_MULTI = Refusal(
    Reason.KERNEL_CONFIG, "in stream mode uprobes need uprobe_multi, kernel 6.6; count mode counts them"
)


class Unserved:
    """Refuses all members of a group, each for the same reason; an `Attacher`."""

    def __init__(self, why: Refusal) -> None:
        self._why = why

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Refuse them."""
        return dict.fromkeys(members.tolist(), self._why)

    def detach(self, members: NDArray[np.intp]) -> None:
        """Do nothing: none is attached."""

    def close(self) -> None:
        """Do nothing."""
