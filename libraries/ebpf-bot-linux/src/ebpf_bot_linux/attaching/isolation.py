"""Finding those few of many sites that the kernel refuses, when it refuses the whole batch for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.kernel.kernel_error import KernelError

__all__ = ["isolate"]

_PARTS = 16
"""Into how many parts a refused batch is split. A refusal costs a wait of some 40 ms in the kernel, and such waits
overlap, so few rounds of many parts are faster than many rounds of two."""


def isolate(refused: NDArray[np.intp], attempt: Callable[[NDArray[np.intp]], None]) -> dict[int, KernelError]:
    """Return which of a refused batch are refused each on its own, with the kernel's answer.

    Args:
        refused: shape (n,), a batch known to be refused.
        attempt: tries some of them, and raises KernelError if the kernel refuses; called from several threads.
    """
    alone: dict[int, KernelError] = {}
    batches = [refused]
    with ThreadPoolExecutor(_PARTS, "ebpf-bot-isolate") as pool:
        while batches:
            parts = [part for batch in batches for part in np.array_split(batch, min(_PARTS, len(batch)))]
            batches = []
            for part, error in zip(parts, pool.map(lambda part: _refusal(attempt, part), parts), strict=True):
                if error is None:
                    continue
                if len(part) == 1:
                    alone[int(part[0])] = error
                else:
                    batches.append(part)
    return alone


def _refusal(attempt: Callable[[NDArray[np.intp]], None], members: NDArray[np.intp]) -> KernelError | None:
    try:
        attempt(members)
    except KernelError as error:
        return error
    return None
