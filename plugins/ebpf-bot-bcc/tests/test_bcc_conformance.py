"""The promises that every backend makes, on the real kernel."""

from __future__ import annotations

import pytest
from ebpf_bot_bcc.compiling import Compiler
from ebpf_bot_bcc.stages import BccInjector, BccReceiver
from ebpf_bot_linux.testing import SyscallTests, UprobeTests, UretprobeTests, UsdtTests

from ebpf_bot_core import Mode

pytestmark = pytest.mark.live

COMPILER = Compiler()
"""One for all, so that what they have in common is compiled once."""


class Bcc:
    """The backend."""

    modes = frozenset({Mode.COUNT})

    def make_injector(self):
        return BccInjector(compiler=COMPILER)

    def make_receiver(self):
        return BccReceiver()


class TestUprobe(Bcc, UprobeTests):
    """uprobe."""


class TestUretprobe(Bcc, UretprobeTests):
    """uretprobe."""


class TestUsdt(Bcc, UsdtTests):
    """usdt."""


class TestSyscall(Bcc, SyscallTests):
    """syscall."""
