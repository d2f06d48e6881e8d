"""Which first instructions the kernel runs wrongly, told from their bytes alone."""

from __future__ import annotations

import numpy as np
import pytest
from ebpf_bot_linux.finding.stepping import LONGEST, misrun, unknown
from hypothesis import given
from hypothesis import strategies as st


def wrong(text):
    code = np.frombuffer(bytes.fromhex(text).ljust(LONGEST, b"\0"), np.uint8)
    return bool(misrun(code[None, :])[0])


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("c5f977", "vzeroall"),
        ("c5f576c0", "vpcmpeqd %ymm0, %ymm1, %ymm0"),
        ("c4e17970c11b", "vpshufd, with the three-byte prefix"),
        ("62e27d287cc6", "vpbroadcastd %esi, %ymm16, as __wcschr_evex begins"),
        ("62f27d487cc6", "vpbroadcastd %esi, %zmm0"),
        ("c5e9ebc1", "vpor"),
        ("c5f890c1", "kmovw"),
        ("c5e8c2c100", "vcmpeqps"),
        ("c4e2699dc1", "vfnmadd132ss"),
        ("6564c5f977", "prefixes before it"),
        ("4990", "xchg %rax, %r8"),
        ("664190", "xchg %ax, %r8w"),
        ("0f05", "syscall"),
        ("480f05", "syscall with REX.W"),
        ("f3a4", "rep movsb"),
        ("f348ab", "rep stosq"),
        ("8fe97812c9", "XOP"),
    ],
)
def test_those_that_would_change_the_program(code, meaning):
    assert wrong(code), meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("55", "push %rbp"),
        ("f30f1efa", "endbr64"),
        ("7405", "jz"),
        ("eb00", "jmp"),
        ("e800000000", "call"),
        ("90", "nop"),
        ("f390", "pause"),
        ("4890", "nop with REX.W"),
        ("4991", "xchg %rax, %r9"),
        ("c3", "ret"),
        ("f3c3", "rep ret"),
        ("a4", "movsb, once"),
        ("c5f857c0", "vxorps"),
        ("c5f86f05aabbccdd", "vmovdqa from memory"),
        ("660f70c11b", "pshufd"),
        ("660febc1", "por"),
        ("0f0b", "ud2"),
        ("8f00", "pop (%rax)"),
        ("f2ff25aabbccdd", "bnd jmp"),
        ("", "nothing at all"),
    ],
)
def test_those_that_are_run_as_they_are(code, meaning):
    assert not wrong(code), meaning


@given(st.lists(st.binary(min_size=LONGEST, max_size=LONGEST), max_size=20))
def test_any_bytes_are_judged_each_on_its_own(codes):
    together = misrun(np.frombuffer(b"".join(codes), np.uint8).reshape(-1, LONGEST))
    assert together.tolist() == [wrong(code.hex()) for code in codes]


@given(st.binary(min_size=LONGEST, max_size=LONGEST))
def test_prefixes_without_end_do_not_run_over(code):
    wrong((b"\xf3" * LONGEST + code)[:LONGEST].hex())


@pytest.mark.parametrize(
    ("code", "meaning", "refused"),
    [
        ("c5f96ec6", "vmovd %esi, %xmm0, as __strchr_avx2 begins", True),
        ("c44101efff", "vpxor %xmm15, %xmm15, %xmm15, as __strcmp_avx2 begins", True),
        ("62f17d48efc0", "vpxord %zmm0, %zmm0, %zmm0", True),
        ("f4", "hlt", True),
        ("48ed", "in, with REX.W", True),
        ("660f6ec6", "movd %esi, %xmm0", False),
        ("0f0b", "ud2", False),
        ("c5f877", "vzeroupper", False),
        ("c3", "ret", False),
        ("f30f1efa", "endbr64", False),
    ],
)
def test_opcodes_that_the_kernel_does_not_know(code, meaning, refused):
    padded = np.frombuffer(bytes.fromhex(code).ljust(LONGEST, b"\0"), np.uint8)
    assert bool(unknown(padded[None, :])[0]) == refused, meaning
