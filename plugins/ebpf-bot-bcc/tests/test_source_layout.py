"""Layouts of structs: fields stand where gcc puts them."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from ebpf_bot_bcc.source.layout import struct_dtype

INTEGERS = {
    **{
        f"{prefix}{sign}{bits}": (sign, bits)
        for prefix in ("", "__")
        for sign in "us"
        for bits in (8, 16, 32, 64)
    },
    **{f"{sign}int{bits}_t": (sign or "s", bits) for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "signed char": ("s", 8),
    "unsigned char": ("u", 8),
    "short": ("s", 16),
    "unsigned short": ("u", 16),
    "int": ("s", 32),
    "unsigned int": ("u", 32),
    "long": ("s", 64),
    "unsigned long": ("u", 64),
    "long long": ("s", 64),
    "unsigned long long": ("u", 64),
    "size_t": ("u", 64),
    "pid_t": ("s", 32),
    "uid_t": ("u", 32),
    "gid_t": ("u", 32),
    "dev_t": ("u", 32),  # as the kernel has it
    "enum colour": ("u", 32),
    "void *": ("u", 64),
    "struct other *": ("u", 64),
}
KINDS = [*INTEGERS, "bool", "_Bool", "char"]
LENGTHS = ("", "[1]", "[3]", "[16]")
PRELUDE = """
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#define dev_t uint32_t
enum colour { RED };
""" + "\n".join(
    f"typedef {'u' * (sign == 'u')}int{bits}_t {prefix}{sign}{bits};"
    for prefix in ("", "__")
    for sign in "us"
    for bits in (8, 16, 32, 64)
)


@pytest.fixture(scope="module")
def structs():
    """Structs of random fields, in which each type occurs, alone and as arrays."""
    random = np.random.default_rng(4)
    fields = [f"{kind}{length}" for kind in KINDS for length in LENGTHS]
    mixed = [random.choice(fields, random.integers(1, 12)).tolist() for _ in range(60)]
    return [[kind, "char"] for kind in fields] + mixed


@pytest.fixture(scope="module")
def of_gcc(structs, tmp_path_factory):
    """What gcc says of each: its size, and where each field begins and how long it is."""
    folder = tmp_path_factory.mktemp("layout")
    text = [PRELUDE]
    shown = []
    for n, kinds in enumerate(structs):
        members = []
        for i, kind in enumerate(kinds):
            element, bracket, length = kind.partition("[")
            members.append(f"{element} f{i}{bracket}{length};")
            shown.append(f"offsetof(struct s{n}, f{i}), sizeof(((struct s{n} *)0)->f{i})")
        shown.append(f"sizeof(struct s{n}), (size_t)0")
        text.append(f"struct s{n} {{ {' '.join(members)} }};")
    text.append("int main(void) {")
    text += [f'printf("%zu %zu\\n", {each});' for each in shown]
    (folder / "layout.c").write_text("\n".join([*text, "return 0; }"]))
    subprocess.run(["gcc", "-w", "layout.c", "-o", "layout"], cwd=folder, check=True, timeout=60)
    said = subprocess.run([folder / "layout"], check=True, capture_output=True, text=True, timeout=60).stdout
    lines = iter([tuple(map(int, line.split())) for line in said.splitlines()])
    return [([next(lines) for _ in kinds], next(lines)[0]) for kinds in structs]


def test_fields_stand_where_gcc_puts_them(structs, of_gcc):
    for kinds, (places, size) in zip(structs, of_gcc, strict=True):
        dtype = struct_dtype([(f"f{i}", kind) for i, kind in enumerate(kinds)])
        ours = [(dtype.fields[name][1], dtype.fields[name][0].itemsize) for name in dtype.names]
        assert (ours, dtype.itemsize) == (places, size), kinds


@pytest.mark.parametrize(("kind", "meant"), INTEGERS.items())
def test_numbers_have_their_sign(kind, meant):
    sign, bits = meant
    of_c = getattr(ctypes, f"c_{'u' * (sign == 'u')}int{bits}")
    assert struct_dtype([("x", kind)])["x"] == np.dtype(of_c)


def test_an_array_of_char_is_a_text_that_ends_at_the_first_zero():
    dtype = struct_dtype([("comm", "char[16]"), ("spaced", "char [4]")])
    assert np.frombuffer(b"sleep\0".ljust(16, b"\0") + b"ab\0\0", dtype)[0].tolist() == (b"sleep", b"ab")


def test_an_array_of_numbers_is_one():
    dtype = struct_dtype([("x", "u16[3]")])
    assert np.frombuffer(b"\1\0\2\0\3\0", dtype)["x"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "kind",
    [
        "struct other",
        "union my::(anonymous at /virtual/main.c:3:31)",
        "my_t",
        "float",
        "double",
        "__int128",
        "int[2][3]",
        "char[]",
        "int (*)(int)",
        "struct other[2]",
        "u128",
        "",
        "[3]",
    ],
)
def test_a_struct_with_a_field_of_an_unknown_type_has_no_layout(kind):
    assert struct_dtype([("a", "u32"), ("x", kind), ("b", "u32")]) is None


def test_a_struct_of_which_nothing_is_known_has_no_layout():
    assert struct_dtype([]) is None


def test_a_flexible_end_takes_no_room():
    assert struct_dtype([("n", "u32"), ("rest", "int[0]")]).itemsize == 4
