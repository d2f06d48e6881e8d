"""What is said where the backend cannot work: the likeliest cause, and its cure."""

from __future__ import annotations

import errno

import pytest
from ebpf_bot_linux import hints
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.privileges import Privileges

from ebpf_bot_core import BackendError

ALL = frozenset({"CAP_BPF", "CAP_PERFMON"})


def said(monkeypatch, number, *, privileges=None, btf=True):
    monkeypatch.setattr(
        Privileges, "here", lambda: privileges or Privileges(ALL, filtered=False, lockdown="")
    )
    monkeypatch.setattr(hints, "BTF", hints.Path("/proc/self/status" if btf else "/none"))
    error = hints.cannot_work(KernelError("load the eBPF programs", number, "the log"), "libbpf")
    assert type(error) is BackendError
    assert error.log == "the log"
    return error


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EINVAL])
def test_missing_capabilities_are_named_whatever_the_kernel_says(monkeypatch, number):
    error = said(
        monkeypatch, number, privileges=Privileges(frozenset({"CAP_BPF"}), filtered=False, lockdown="")
    )
    assert error.errno == errno.EPERM
    assert error.message.endswith("without CAP_PERFMON")
    assert "doctor" in error.hint


@pytest.mark.parametrize(
    ("privileges", "hint"),
    [
        (Privileges(ALL, filtered=True, lockdown=""), "seccomp=unconfined"),
        (Privileges(ALL, filtered=False, lockdown="confidentiality"), "lockdown=integrity"),
        (Privileges(ALL, filtered=False, lockdown="integrity"), "CAP_BPF"),
    ],
)
def test_what_else_forbids_is_named(monkeypatch, privileges, hint):
    assert hint in said(monkeypatch, errno.EPERM, privileges=privileges).hint


def test_an_old_kernel_is_told_which_one_is_needed(monkeypatch):
    error = said(monkeypatch, errno.EINVAL)
    assert "5.17" in error.hint
    assert error.errno == errno.EINVAL


def test_a_kernel_without_bpf_or_btf_is_told(monkeypatch):
    assert "CONFIG_BPF_SYSCALL" in said(monkeypatch, errno.ENOSYS).hint
    assert "CONFIG_DEBUG_INFO_BTF" in said(monkeypatch, errno.EINVAL, btf=False).hint
    assert "doctor" in said(monkeypatch, errno.E2BIG).hint


def test_sys_admin_stands_for_both_capabilities():
    assert Privileges(frozenset({"CAP_SYS_ADMIN"}), filtered=False, lockdown="").missing == ()
    assert Privileges(frozenset(), filtered=False, lockdown="").missing == ("CAP_BPF", "CAP_PERFMON")
