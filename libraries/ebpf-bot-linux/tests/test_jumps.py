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


LOOP = (
    b"\xeb\x08"  # jmp to the condition
    b"\x8b\x50\x70"  # the body, which only a jump behind it leads to: mov 0x70(%rax), %edx
    b"\x90\x90\x90\x90\x90"
    b"\x39\xd6"  # the condition: cmp %edx, %esi
    b"\x73\xf4"  # jae to the body
    b"\xc3"
)


def test_what_a_later_jump_leads_to_is_code():
    """The body of a loop that is entered at its condition, with a byte in it that looks like a jump."""
    content = bytearray(b"\x90" * SIZE)
    content[100:116] = LOOP + b"\xc3"
    likely = 104  # 70 90: jo
    first = likely + 2 + int.from_bytes(b"\x90", "little", signed=True)
    content[likely + 1] = 0x90
    assert not reached(content, first - 1, first + 1, functions=(0, 100))
    content[102:105] = b"\x90\x90\x70"  # a jump indeed
    assert reached(content, first - 1, first + 1, functions=(0, 100))


def test_a_jump_elsewhere_is_no_jump_to_a_piece():
    """Within a computed jump are bytes of a short one; so are within a long one that leads elsewhere."""
    content = bytearray(b"\x90" * SIZE)
    content[220:223] = b"\xff\xe0" + distance(205, 223, 1)  # jmp *%rax
    assert not reached(content, 200, 210, functions=(0, 200))
    content[220:225] = b"\xe9\xeb" + distance(205, 223, 1) + b"\x00\x00"
    assert not reached(content, 200, 210, functions=(0, 200))


def test_code_that_is_not_code_proves_nothing():
    content = bytearray(b"\x90" * SIZE)
    content[220:225] = b"\xb8\x00\xeb" + distance(205, 224, 1) + b"\x00"
    assert not reached(content, 200, 210, functions=(0, 200))
    content[240] = 0x06  # no instruction in 64-bit code: what led here was no code either
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
    codes, start = [Code(BASE, bytes(content))], np.array([BASE])
    held = indirect_jumps(codes, start, start + 60, start)
    assert held.tolist() == [True]


def computed(content, *, far):
    """Whether a function of these bytes may hold a jump to a computed address."""
    end = BASE + len(content)
    found = indirect_jumps(
        [Code(BASE, content + b"\x90" * 16)], np.array([BASE]), np.array([end]), np.array([BASE]), far=far
    )
    return bool(found[0])


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        ("b8ffe00000 c3", False),  # mov $0xe0ff, %eax
        ("e9eafeffff 662e0f1f840000000000", False),  # jmp, and padding that begins with 66
        ("ffe0", True),  # jmp *%rax
        ("41ffe0", True),  # jmp *%r8
        ("3effe0", True),  # notrack jmp *%rax
        ("eb01 b8ffe00000", True),  # jmp into the mov: nothing else leads to it
        ("c3 b8ffe00000", True),  # behind a return, where nothing leads
        ("06 b8ffe00000", True),  # behind what is no instruction
    ],
)
def test_what_lies_within_another_instruction_is_no_computed_jump(code, is_one):
    content = bytes.fromhex(code)
    assert computed(content, far=True) == is_one
    assert computed(content, far=False)


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
