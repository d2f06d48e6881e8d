"""What the arguments of probes are, read from notes, formats and the kernel's BTF: whatever they contain."""

from __future__ import annotations

import numpy as np
import pytest
from ebpf_bot_linux.finding.kernel_names import syscall_arguments
from ebpf_bot_linux.finding.prototypes import read_prototypes
from ebpf_bot_linux.finding.tracepoint_format import tracepoint_fields
from ebpf_bot_linux.finding.usdt_arguments import MOST, Operand, Place, usdt_arguments
from hypothesis import given
from hypothesis import strategies as st

MACHINES = ("x86_64", "aarch64")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("4@$5", Operand(Place.CONSTANT, 4, is_signed=False, constant=5)),
        ("-8@$-1", Operand(Place.CONSTANT, 8, is_signed=True, constant=2**64 - 1)),
        ("-4@%edi", Operand(Place.REGISTER, 4, is_signed=True, base=112)),
        ("1@%r8b", Operand(Place.REGISTER, 1, is_signed=False, base=72)),
        ("8@-8(%rbp)", Operand(Place.MEMORY, 8, is_signed=False, constant=2**64 - 8, base=32)),
        ("2@(%rsp)", Operand(Place.MEMORY, 2, is_signed=False, base=152)),
        (
            "8@0x10(%rax,%rdx,8)",
            Operand(Place.INDEXED_MEMORY, 8, is_signed=False, constant=16, base=80, index=96, scale=3),
        ),
        ("8f@%xmm0", None),
        ("4@global+8(%rip,)", None),
        ("4@%ah", None),
        ("3@%eax", None),
        ("8@%fs:16", None),
    ],
)
def test_an_argument_of_x86_64(word, expected):
    assert usdt_arguments(f"4@$1 {word}", "x86_64")[1] == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("4@5", Operand(Place.CONSTANT, 4, is_signed=False, constant=5)),
        ("-8@x30", Operand(Place.REGISTER, 8, is_signed=True, base=240)),
        ("-4@[sp, 60]", Operand(Place.MEMORY, 4, is_signed=True, constant=60, base=248)),
        ("8@[x1, x2]", Operand(Place.INDEXED_MEMORY, 8, is_signed=False, base=8, index=16)),
        ("8@x31", None),
        ("8@d0", None),
    ],
)
def test_an_argument_of_arm64(word, expected):
    assert usdt_arguments(f"4@1 {word} 4@2", "aarch64")[1] == expected


@given(
    text=st.text() | st.text("-0123456789@$%(),rxeadibps[] f"),
    machine=st.sampled_from((*MACHINES, "riscv64")),
)
def test_any_text_gives_operands_that_the_programs_can_take(text, machine):
    operands = usdt_arguments(text, machine)
    assert len(operands) <= MOST
    for operand in operands:
        if operand is not None:
            assert operand.size in (1, 2, 4, 8)
            assert 0 <= operand.constant < 2**64
            assert operand.base % 8 == operand.index % 8 == 0
            assert max(operand.base, operand.index) <= 248
            assert 0 <= operand.scale <= 3


FORMAT = """name: made_up
ID: 1
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:__data_loc char[] name;	offset:8;	size:4;	signed:0;
	field:char comm[16];	offset:12;	size:16;	signed:0;
	field:unsigned long args[3];	offset:32;	size:24;	signed:0;
	field:const char * file;	offset:56;	size:8;	signed:0;
	field:bool on;	offset:64;	size:1;	signed:0;
	field:__data_loc u64[] many;	offset:68;	size:4;	signed:0;
	field:u8 address[16];	offset:72;	size:16;	signed:0;
	field:long error;	offset:88;	size:8;	signed:1;

print fmt: "%s", __get_str(name)
"""


def test_the_fields_of_a_tracepoint_are_those_of_its_format():
    assert [(field.name, field.offset, field.dtype) for field in tracepoint_fields(FORMAT)] == [
        ("name", 8, None),
        ("comm", 12, np.dtype("S16")),
        ("args", 32, np.dtype(("<u8", (3,)))),
        ("file", 56, np.dtype("<u8")),
        ("on", 64, np.dtype("?")),
        ("address", 72, np.dtype(("u1", (16,)))),
        ("error", 88, np.dtype("<i8")),
    ]


@given(text=st.text(max_size=40), at=st.integers(0, len(FORMAT)))
def test_a_format_with_anything_in_it_is_read(text, at):
    for field in tracepoint_fields(FORMAT[:at] + text + FORMAT[at:]):
        assert field.offset >= 8


def test_syscalls_have_names_and_types():
    known = syscall_arguments()
    assert known["openat"] == (("dfd", "i4"), ("filename", "u8"), ("flags", "i4"), ("mode", "u2"))
    assert known["getpid"] == ()
    assert known["stat"][0] == ("filename", "u8")
    assert all(len(arguments) <= 6 for arguments in known.values())


@pytest.mark.live
def test_raw_tracepoints_have_names_and_types():
    known = read_prototypes()
    assert known["sys_enter"] == (("regs", np.dtype("<u8")), ("id", np.dtype("<i8")))
    assert known["sched_switch"][0] == ("preempt", np.dtype("?"))


def test_a_kernel_without_btf_has_no_prototypes(tmp_path):
    assert read_prototypes(tmp_path) == {}
    (tmp_path / "vmlinux").write_bytes(b"\x9f\xeb\x01\x00" + b"\xff" * 100)
    assert read_prototypes(tmp_path) == {}
