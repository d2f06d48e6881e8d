"""Names of functions: each is attached where BCC itself would attach it."""

from __future__ import annotations

import platform

import pytest
from ebpf_bot_bcc.source.names import probe_of

HERE = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_"}[platform.machine()]


@pytest.mark.parametrize(
    ("function", "probe"),
    [
        ("kprobe__vfs_read", "kprobe:vfs_read"),
        ("kretprobe__vfs_read", "kretprobe:vfs_read"),
        ("tracepoint__sched__sched_switch", "tracepoint:sched:sched_switch"),
        ("tracepoint__a__b__c", "tracepoint:a:b__c"),
        ("tracepoint__syscalls__sys_enter_openat", "tracepoint:syscalls:sys_enter_openat"),
        ("raw_tracepoint__sched_switch", "rawtracepoint:sched_switch"),
        ("kfunc__vfs_read", "fentry:vfs_read"),
        ("kfunc__vmlinux__vfs_read", "fentry:vfs_read"),
        ("kretfunc__vfs_read", "fexit:vfs_read"),
        ("kretfunc__vmlinux__vfs_read", "fexit:vfs_read"),
        ("kprobe____alloc_pages", "kprobe:__alloc_pages"),
        ("on_read", ""),
        ("lsm__file_open", ""),
        ("my_kprobe__vfs_read", ""),
        ("kprobe_vfs_read", ""),
    ],
)
def test_a_prefix_says_what_a_function_is_attached_to(function, probe):
    assert probe_of(function) == probe


@pytest.mark.parametrize("name", ["sys_enter", "sys_exit"])
def test_raw_tracepoints_are_no_functions_of_syscalls(name):
    assert probe_of(f"raw_tracepoint__{name}") == f"rawtracepoint:{name}"


@pytest.mark.parametrize("spelt", ["sys_", "__x64_sys_", "__arm64_sys_", "__ia32_compat_sys_"])
@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("kprobe__", "kprobe:"),
        ("kretprobe__", "kretprobe:"),
        ("kfunc__", "fentry:"),
        ("kretfunc__", "fexit:"),
    ],
)
def test_the_function_of_a_syscall_is_called_as_it_is_here(prefix, kind, spelt):
    assert probe_of(f"{prefix}{spelt}openat") == f"{kind}{HERE}openat"


def test_the_function_of_a_syscall_is_in_this_kernel():
    with open("/proc/kallsyms", encoding="ascii") as symbols:
        names = {line.split()[2] for line in symbols}
    assert probe_of("kprobe__sys_openat").removeprefix("kprobe:") in names


def test_only_the_beginning_of_a_name_makes_it_a_syscall():
    assert probe_of("kprobe__ksys_read") == "kprobe:ksys_read"


def test_on_another_machine_names_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert probe_of("kprobe__sys_openat") == "kprobe:sys_openat"
