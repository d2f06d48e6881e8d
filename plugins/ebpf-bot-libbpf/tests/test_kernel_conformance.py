"""The promises that every backend makes, on the real kernel."""

from __future__ import annotations

import pytest
from ebpf_bot_libbpf.stages import LibbpfInjector, LibbpfReceiver
from ebpf_bot_linux.testing import SyscallTests, UprobeTests, UretprobeTests, UsdtTests

from ebpf_bot_core import Mode

pytestmark = pytest.mark.live


class Libbpf:
    """The backend."""

    modes = frozenset(Mode)

    def make_injector(self):
        return LibbpfInjector()

    def make_receiver(self):
        return LibbpfReceiver()


class TestUprobe(Libbpf, UprobeTests):
    """uprobe."""


class TestUretprobe(Libbpf, UretprobeTests):
    """uretprobe."""


class TestUsdt(Libbpf, UsdtTests):
    """usdt."""


class TestSyscall(Libbpf, SyscallTests):
    """syscall."""
