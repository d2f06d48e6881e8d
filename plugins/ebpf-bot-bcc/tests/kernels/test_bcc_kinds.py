"""Every probe kind on this kernel and, by `make test-kernels`, on others; the tests are those of every backend."""

from __future__ import annotations

import pytest
from ebpf_bot_bcc.compiling import Compiler
from ebpf_bot_bcc.stages import BccInjector, BccReceiver
from ebpf_bot_linux.testing import CodeKindTests, KernelEventTests, KernelFunctionTests

pytestmark = [pytest.mark.live, pytest.mark.kernels]

COMPILER = Compiler()
"""One for all, so that what they have in common is compiled once."""


class Bcc:
    """The backend."""

    def make_injector(self, features):
        return BccInjector(features=features, compiler=COMPILER)

    def make_receiver(self):
        return BccReceiver()

    def called(self):
        return "bcc, headers of BTF" if COMPILER.headers().made else "bcc, the kernel's headers"


class TestCode(Bcc, CodeKindTests):
    """uprobe, uretprobe, usdt."""


class TestKernelFunctions(Bcc, KernelFunctionTests):
    """kprobe, kretprobe, fentry, fexit."""


class TestKernelEvents(Bcc, KernelEventTests):
    """tracepoint, rawtracepoint, syscall, software."""
