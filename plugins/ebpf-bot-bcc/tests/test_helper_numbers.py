"""Functions of the kernel that BCC's headers name and an older kernel's types have not."""

from __future__ import annotations

import re
import subprocess

import pytest
from ebpf_bot_bcc.helper_numbers import defining_missing


def test_only_what_is_missing_is_defined():
    types = "enum bpf_func_id { BPF_FUNC_user_ringbuf_drain = 209, BPF_FUNC_get_retval = 186, };"
    lines = defining_missing(types).splitlines()
    assert "#define BPF_FUNC_cgrp_storage_get 210" in lines
    assert "#define BPF_FUNC_cgrp_storage_delete 211" in lines
    assert not [line for line in lines if "user_ringbuf_drain" in line or "get_retval" in line]
    assert len(lines) == 24


def test_the_numbers_are_those_of_this_kernel():
    command = ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if dumped.returncode:
        pytest.skip(f"no BTF here: {dumped.stderr.strip()}")
    here = dict(re.findall(r"\b(BPF_FUNC_\w+) = (\d+)", dumped.stdout))
    defined = dict(re.findall(r"#define (\w+) (\d+)", defining_missing("")))
    assert len(defined) == 26
    common = defined.keys() & here.keys()
    assert common
    assert {name: here[name] for name in common} == {name: defined[name] for name in common}
    assert defining_missing(dumped.stdout) == "".join(
        f"#define {name} {number}\n" for name, number in defined.items() if name not in here
    )
