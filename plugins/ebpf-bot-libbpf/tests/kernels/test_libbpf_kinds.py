"""Every probe kind on this kernel and, by `make test-kernels`, on others; the tests are those of every backend."""

from __future__ import annotations

import pytest
from ebpf_bot_libbpf.stages import LibbpfInjector, LibbpfReceiver
from ebpf_bot_linux.features import try_uprobe_multi
from ebpf_bot_linux.testing import CodeKindTests, KernelEventTests, KernelFunctionTests

pytestmark = [pytest.mark.live, pytest.mark.kernels]


class Libbpf:
    """The backend."""

    def make_injector(self, features):
        return LibbpfInjector(features=features)

    def make_receiver(self):
        return LibbpfReceiver()

    def called(self):
        return "libbpf"


class TestCode(Libbpf, CodeKindTests):
    """uprobe, uretprobe, usdt."""


class TestKernelFunctions(Libbpf, KernelFunctionTests):
    """kprobe, kretprobe, fentry, fexit."""


class TestKernelEvents(Libbpf, KernelEventTests):
    """tracepoint, rawtracepoint, syscall, software."""


def test_this_kernel_is_tried_and_not_believed():
    """A kernel has uprobe_multi if and only if its code for it is there."""
    with open("/proc/kallsyms") as symbols:
        has = any(line.split()[2] == "bpf_uprobe_multi_link_attach" for line in symbols)
    assert (try_uprobe_multi() is None) == has
