"""Jumps: none is missed, whatever bytes stand around it, and decoding rules out only what it has proved."""

from __future__ import annotations

import numpy as np
import pytest
from ebpf_bot_linux.finding.decoding import decoded
from ebpf_bot_linux.finding.jumps import Code, Pieces, indirect_jumps, jumped_into
from hypothesis import given
from hypothesis import strategies as st

BASE = 0x401000
SIZE = 400


def reached(content, first, last, functions=()):
    pieces = Pieces(np.array([BASE + first]), np.array([BASE + last]))
    found = jumped_into(
        [Code(BASE, bytes(content))], pieces, np.array([BASE + at for at in functions], np.int64)
    )
    return bool(found[0])


def distance(target, end, width):
    return (target - end).to_bytes(width, "little", signed=True)


@given(st.binary(min_size=SIZE, max_size=SIZE), st.data())
def test_no_long_jump_into_a_piece_is_missed(noise, data):
    content = bytearray(noise)
    opcode = data.draw(st.sampled_from([b"\xe8", b"\xe9", b"\x0f\x84", b"\x0f\x8f", b"\xc7\xf8"]))
    source = data.draw(st.integers(0, 180) | st.integers(220, SIZE - 6))
    end = source + len(opcode) + 4
    content[source:end] = opcode + distance(data.draw(st.integers(201, 210)), end, 4)
    assert reached(content, 200, 210)


@pytest.mark.parametrize("opcode", [0x70, 0x7F, 0xEB, 0xE0, 0xE3])
@pytest.mark.parametrize("source", [100, 190, 211, 320])
def test_no_short_jump_that_is_executed_is_missed(opcode, source):
    content = bytearray(b"\x90" * SIZE)
    content[source : source + 2] = bytes([opcode]) + distance(205, source + 2, 1)
    assert reached(content, 200, 210, functions=(0, 200))


def test_bytes_within_an_instruction_are_no_jump():
    content = bytearray(b"\x90" * SIZE)
    content[220:225] = b"\xb8\x00\xeb" + distance(205, 224, 1) + b"\x00"  # mov $..., %eax
    assert not reached(content, 200, 210, functions=(0, 200))
    assert reached(content, 200, 210), "nothing proves where instructions begin"


def test_behind_a_return_bytes_may_be_data():
    content = bytearray(b"\x90" * SIZE)
    content[220] = 0xC3
    content[221:226] = b"\xb8\x00\xeb" + distance(205, 225, 1) + b"\x00"
    assert reached(content, 200, 210, functions=(0, 200))


def test_a_jump_to_the_first_byte_or_behind_the_last_is_none_of_ours():
    content = bytearray(b"\x90" * SIZE)
    for source, target in ((250, 200), (260, 211)):
        content[source : source + 2] = b"\xeb" + distance(target, source + 2, 1)
    assert not reached(content, 200, 210, functions=(0, 200))


@given(
    st.binary(min_size=2, max_size=60), st.integers(0, 58), st.sampled_from([0xE0, 0x20, 0x24, 0xA3, 0x25])
)
def test_no_computed_jump_is_missed(noise, at, operand):
    content = bytearray(noise.ljust(60, b"\0"))
    content[at : at + 2] = bytes([0xFF, operand])
    held = indirect_jumps([Code(BASE, bytes(content))], np.array([BASE]), np.array([BASE + 60]))
    assert held.tolist() == [True]


@given(st.binary(max_size=200))
def test_any_bytes_can_be_decoded_as_far_as_they_go(content):
    end = BASE
    for instruction in decoded(content, BASE):
        assert instruction.address == end
        end = instruction.end
    assert end <= BASE + len(content)


@pytest.mark.parametrize(
    ("code", "goes_on", "may_fault"),
    [
        ("55", True, False),
        ("f30f1efa", True, False),
        ("48894c24f8", True, False),  # mov %rcx, -8(%rsp)
        ("64488b042528000000", True, False),  # mov %fs:0x28, %rax
        ("488b05aabbcc00", True, False),  # mov ...(%rip), %rax
        ("488d0411", True, False),  # lea (%rcx,%rdx), %rax
        ("488b07", True, True),  # mov (%rdi), %rax
        ("48890cdc", True, True),  # mov %rcx, (%rsp,%rbx,8)
        ("648b00", True, True),  # mov %fs:(%rax), %eax
        ("f3a4", True, True),  # rep movsb
        ("660ff7c1", True, True),  # maskmovdqu %xmm1, %xmm0
        ("f0ff07", True, True),  # lock incl (%rdi)
        ("c5f96ec6", True, False),  # vmovd %esi, %xmm0
        ("0f05", False, False),  # syscall
        ("0f0b", False, False),  # ud2
        ("f4", False, False),  # hlt
        ("cc", False, False),  # int3
        ("c3", False, False),  # ret
        ("eb00", False, False),
        ("7400", False, False),
        ("e800000000", False, False),
        ("ffd0", False, False),  # call *%rax
        ("3effe0", False, False),  # notrack jmp *%rax
        ("e2fe", False, False),  # loop
        ("48f7ff", False, False),  # idiv %rdi
        ("9d", False, False),  # popf
    ],
)
def test_what_can_follow_an_instruction(code, goes_on, may_fault):
    (instruction,) = decoded(bytes.fromhex(code), BASE)
    assert (instruction.goes_on, instruction.may_fault) == (goes_on, may_fault), instruction
