"""Counting how often a binary is loaded and run."""

from __future__ import annotations

import logging

import numpy as np

from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.held_binary import HeldBinary
from ebpf_bot_linux.attaching.one_by_one import link_event
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.kernel import perf_events, syscalls
from ebpf_bot_linux.kernel.descriptors import refuse_if_scarce
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs

__all__ = ["LoadSite"]

_log = logging.getLogger(__name__)


class LoadSite:
    """Counts how often a binary is loaded and run, which is how often the probes in it had a chance; kernel 5.17.

    It has a link of its own, since it stays while those come and go.

    Args:
        site: its number.
    """

    def __init__(
        self, site: int, binary: HeldBinary, programs: Programs, closer: Closer, features: Features
    ) -> None:
        self._site = site
        self._binary = binary
        self._programs = programs
        self._closer = closer
        self._features = features
        self._links: list[int] = []

    def attach(self) -> None:
        """Attach it, unless it is attached, or the binary has nothing of the sort or cannot be attached to."""
        offset = self._binary.file.load_offset
        if self._links or offset is None or self._binary.open() is not None:
            return
        try:
            refuse_if_scarce("attach uprobes")
            with self._binary.mapped():
                self._links = [self._link(offset)]
        except KernelError as error:
            _log.debug("loads of %s cannot be counted: %s", self._binary.file.path, error.message)

    def close(self) -> None:
        """Begin to detach it. May be called twice."""
        self._closer.close(self._links)
        self._links = []

    def _link(self, offset: int) -> int:
        if not self._features.uprobe_multi:
            event = perf_events.open_place(self._binary.path, offset, on_return=False)
            return link_event(self._programs["event_load"], event, self._site)
        offsets, cookies = np.array([offset], np.uint64), np.array([self._site], np.uint64)
        program = self._programs["uprobe_load"]
        return syscalls.attach_uprobes(program, self._binary.path, offsets, cookies, on_return=False)
