"""ELF files that somebody damaged on purpose: rows, in bounded time, and no offset that the file does not give.

The oracle reads the files with `struct` alone, after the System V gABI, and shares no code with the plugin.
"""

from __future__ import annotations

import itertools
import os
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from ebpf_bot_linux.finding.elf import Elf
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.points import FunctionPoint
from elftools.common.exceptions import ELFParseError
from elftools.construct import ConstructError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict

SOURCE = """
extern int puts(const char *);
int data = 1;
__attribute__((constructor)) static void begin(void) { data++; }
static int helper(int x) { return x + data; }
int (*keep)(int) = helper;
int exported(int x) { return puts("") + x; }
int another(int x) { return x * 2; }
"""

_PT_LOAD, _PF_X, _SHT_SYMTAB, _SHT_DYNSYM = 1, 1, 2, 11
_EHDR, _PHDR, _SHDR, _SYM = 64, 56, 64, 24


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("original") / "small.so"
    source = path.with_suffix(".c")
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", "-Wl,--build-id", "-o", path, source], check=True)
    content = path.read_bytes()
    assert len(content) < 20_000
    return content


@attrs.frozen
class Parts:
    """Where the tables of the original file are: (offset, size)."""

    header: tuple[int, int]
    programs: tuple[int, int]
    sections: tuple[int, int]
    symbols: tuple[int, int]
    dynamic: tuple[int, int]
    notes: tuple[int, int]
    anywhere: tuple[int, int]

    @classmethod
    def of(cls, content: bytes) -> Parts:
        programs, sections = _tables(content)
        by_type = {section[1]: section for section in sections}
        dynamic = next(header for header in programs if header[0] == 2)
        notes = next(header for header in programs if header[0] == 4)
        phoff, shoff = struct.unpack_from("<QQ", content, 32)
        return cls(
            (0, _EHDR),
            (phoff, len(programs) * _PHDR),
            (shoff, len(sections) * _SHDR),
            (by_type[_SHT_SYMTAB][4], by_type[_SHT_SYMTAB][5]),
            (dynamic[2], dynamic[5]),
            (notes[2], notes[5]),
            (0, len(content)),
        )


def _tables(content: bytes) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the program headers and section headers that lie in the file."""
    phoff, shoff = struct.unpack_from("<QQ", content, 32)
    _, phnum, _, shnum = struct.unpack_from("<HHHH", content, 54)
    programs = [
        struct.unpack_from("<IIQQQQQQ", content, phoff + i * _PHDR)
        for i in range(phnum)
        if phoff + (i + 1) * _PHDR <= len(content)
    ]
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", content, shoff + i * _SHDR)
        for i in range(shnum)
        if shoff and shoff + (i + 1) * _SHDR <= len(content)
    ]
    return programs, sections


def _true_offsets(content: bytes) -> dict[bytes, set[int]]:
    """Return every offset that a function's symbol and an executable segment give together, by the symbol's name."""
    programs, sections = _tables(content)
    code = [
        (offset, vaddr, size)
        for kind, flags, offset, vaddr, _, size, _, _ in programs
        if kind == _PT_LOAD and flags & _PF_X
    ]
    found: dict[bytes, set[int]] = {}
    for kind, offset, size, link in ((s[1], s[4], s[5], s[6]) for s in sections):
        if kind not in (_SHT_SYMTAB, _SHT_DYNSYM) or link >= len(sections) or offset + size > len(content):
            continue
        _, _, _, _, strings_at, strings_size, *_ = sections[link]
        strings = content[strings_at : strings_at + strings_size]
        for at in range(offset, offset + size - _SYM + 1, _SYM):
            name_at, info, _, _, value, _ = struct.unpack_from("<IBBHQQ", content, at)
            name = strings[name_at:].partition(b"\0")[0].partition(b"@")[0]
            if info & 0xF in (2, 10):
                found.setdefault(name, set()).update(
                    value - vaddr + start for start, vaddr, length in code if vaddr <= value < vaddr + length
                )
    return found


def _check(content: bytes, path: Path) -> Evidence:
    """Find all functions of the content and hold each offset against the oracle."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    finder = Finder(debug_root=Path("/nonexistent"))
    began = time.process_time()
    evidence = finder.find([ProbePattern.parse(f"{kind}:{path}:*") for kind in ("uprobe", "uretprobe")])
    points = finder.points([row.probe for row in evidence if row.verdict is Verdict.PENDING])
    assert time.process_time() - began < 1
    assert len(evidence) > 0
    for row in evidence:
        assert row.verdict in (
            Verdict.PENDING,
            Verdict.REFUSED,
            Verdict.EXCLUDED,
            Verdict.BLIND,
            Verdict.MISSING,
        )
        assert row.verdict is Verdict.PENDING or row.detail.isprintable()
        assert str(ProbePattern.parse(row.probe)) == row.probe
        row.probe.encode()  # no surrogates: it can be written as JSON
    true = _true_offsets(content) if points else {}
    names = [row.probe.rpartition(":")[2] for row in evidence if row.verdict is Verdict.PENDING]
    for name, point in zip(names, points, strict=True):
        assert isinstance(point, FunctionPoint)
        assert point.offsets
        assert set(point.offsets) <= true[name.encode()]
        assert max(point.offsets) < len(content)
        for offset, size in point.binary.segments:
            assert offset + size <= len(content)
        load = point.binary.load_offset
        assert load is None or any(start <= load < start + size for start, size in point.binary.segments)
    return evidence


def test_the_oracle_and_the_finder_agree_on_the_original(original: bytes, tmp_path: Path) -> None:
    evidence = _check(original, tmp_path / "file")
    names = {row.probe.rpartition(":")[2] for row in evidence if row.verdict is Verdict.PENDING}
    assert names == {"begin", "helper", "exported", "another"}
    assert names == {name.decode() for name, offsets in _true_offsets(original).items() if offsets}
    (point,) = Finder().points([f"uprobe:{tmp_path / 'file'}:begin"])
    assert isinstance(point, FunctionPoint)
    assert point.binary.load_offset == point.offsets[0]


NUMBERS = st.one_of(
    st.sampled_from(
        [0, 1, 2, 4, 8, 24, 56, 64, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
    ),
    st.integers(0, 0x5000),
    st.integers(0, (1 << 64) - 1),
)
WHERE = st.sampled_from(
    [
        "header",
        "programs",
        "programs",
        "sections",
        "sections",
        "symbols",
        "symbols",
        "dynamic",
        "notes",
        "anywhere",
    ]
)
DAMAGE = st.tuples(WHERE, st.integers(0, 1 << 16), st.sampled_from([1, 2, 4, 8]), NUMBERS)
"""A part of the file, a place in it, and a number of some bytes to write there."""


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages=st.lists(DAMAGE, min_size=1, max_size=6), keep=st.one_of(st.none(), st.integers(0, 20_000)))
@example(damages=[("header", 60, 2, 0xFFFF)], keep=None)  # as many sections as there can be
@example(damages=[("header", 56, 2, 0xFFFF)], keep=None)  # and segments
@example(damages=[("header", 60, 2, 0)], keep=None)  # the number of sections is said elsewhere
def test_no_damage_raises_or_makes_up_an_offset(
    original: bytes, tmp_path: Path, damages: list[tuple[str, int, int, int]], keep: int | None
) -> None:
    content, parts = bytearray(original), Parts.of(original)
    for where, place, width, number in damages:
        start, size = getattr(parts, where)
        at = start + place % max(1, size // width) * width
        content[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, "little")
    _check(bytes(content[:keep]), tmp_path / "file")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=st.binary(max_size=400), e_type=st.sampled_from([2, 3]))
def test_noise_after_a_good_beginning_is_a_row(tmp_path: Path, rest: bytes, e_type: int) -> None:
    begin = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", e_type, 62)
    _check(begin + rest, tmp_path / "file")


def _fields(original: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and width of every field of the headers and of the first symbols."""
    parts = Parts.of(original)
    for start, size, layout in (
        (*parts.header, "16s HHI QQQ I HHHHHH"),
        (*parts.programs, "IIQQQQQQ"),
        (*parts.sections, "IIQQQQIIQQ"),
        (parts.symbols[0], 10 * _SYM, "IBBHQQ"),
    ):
        widths = [
            struct.calcsize(f"<{code}") for code in layout.replace("16s", "BBBBBBBBBBBBBBBB").replace(" ", "")
        ]
        for base in range(start, start + size, sum(widths)):
            yield from zip(itertools.accumulate([base, *widths[:-1]]), widths, strict=True)


EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFE, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFF0)


@pytest.mark.parametrize("extreme", EXTREMES, ids=hex)
def test_every_field_may_have_an_extreme_value(original: bytes, tmp_path: Path, extreme: int) -> None:
    tried = 0
    for at, width in _fields(original):
        content = bytearray(original)
        content[at : at + width] = (extreme & (1 << 8 * width) - 1).to_bytes(width, "little")
        _check(bytes(content), tmp_path / "file")
        tried += 1
    assert tried > 200


def _with_symbols(original: bytes, symbols: bytes, strings: bytes) -> bytes:
    """Return the original with another symbol table and its strings at the end."""
    _, sections = _tables(original)
    (shoff,) = struct.unpack_from("<Q", original, 40)
    table = next(i for i, section in enumerate(sections) if section[1] == _SHT_SYMTAB)
    link = sections[table][6]
    content = bytearray(original)
    struct.pack_into("<QQ", content, shoff + table * _SHDR + 24, len(content), len(symbols))
    struct.pack_into("<QQ", content, shoff + link * _SHDR + 24, len(content) + len(symbols), len(strings))
    return bytes(content) + symbols + strings


def _symbol(name: int, value: int) -> bytes:
    return struct.pack("<IBBHQQ", name, 2, 0, 1, value, 0)


def _address(original: bytes) -> int:
    """Return the first address of the code."""
    programs, _ = _tables(original)
    return next(header[3] for header in programs if header[0] == _PT_LOAD and header[1] & _PF_X)


def test_names_that_overlap_cost_no_more_than_the_file_is_large(original: bytes, tmp_path: Path) -> None:
    """Names that are the ends of one another: 60,000 symbols in 1.5 MB would have 120 MB of names."""
    length, times = 4000, 15
    strings = b"\0" + (b"a" * (length - 1) + b"\0") * times
    symbols = b"".join(_symbol(1 + i, _address(original)) for i in range(length * times))
    path = tmp_path / "file"
    path.write_bytes(_with_symbols(original, symbols, strings))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    (row,) = Finder().find([ProbePattern.parse(f"uprobe:{path}:*")])
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)
    assert "overlap" in row.detail
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "in KiB"


def test_a_name_without_an_end_is_no_name(original: bytes, tmp_path: Path) -> None:
    strings = b"\0good\0endless"
    symbols = (
        _symbol(1, _address(original)) + _symbol(6, _address(original)) + _symbol(99, _address(original))
    )
    evidence = _check(_with_symbols(original, symbols, strings), tmp_path / "file")
    names = {row.probe.rpartition(":")[2] for row in evidence if row.verdict is Verdict.PENDING}
    assert names == {"good", "exported", "another"}, "the last two from .dynsym"


def _code(original: bytes) -> tuple[int, int, int]:
    """Return the file offset of the program header of the code, and the code's address and size."""
    programs, _ = _tables(original)
    (phoff,) = struct.unpack_from("<Q", original, 32)
    number = next(i for i, header in enumerate(programs) if header[0] == _PT_LOAD and header[1] & _PF_X)
    return phoff + number * _PHDR, programs[number][3], programs[number][5]


def test_code_ends_where_its_segment_does(original: bytes, tmp_path: Path) -> None:
    _, address, size = _code(original)
    places = {"first": address, "last": address + size - 1, "beyond": address + size, "before": address - 1}
    strings = b"\0" + b"\0".join(name.encode() for name in places) + b"\0"
    symbols = b"".join(_symbol(strings.index(n.encode()), value) for n, value in places.items())
    evidence = _check(_with_symbols(original, symbols, strings), tmp_path / "file")
    found = {row.probe.rpartition(":")[2]: row for row in evidence}
    assert [found[name].verdict for name in ("first", "last")] == [Verdict.PENDING] * 2
    for name in ("beyond", "before"):
        assert (found[name].verdict, found[name].reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({32: 1 << 33, 40: 1 << 33}, "past the end of the file"),  # p_filesz, p_memsz
        ({40: 1}, "does not fit"),  # p_memsz below p_filesz
        ({16: (1 << 64) - 4096, 40: 8192}, "does not fit"),  # p_vaddr at the top of all addresses
        ({16: 0x10008}, "within the page"),
    ],
)
def test_a_segment_that_the_kernel_could_not_map_is_refused(
    original: bytes, tmp_path: Path, fields: dict[int, int], said: str
) -> None:
    header, _, _ = _code(original)
    content = bytearray(original)
    for field, value in fields.items():
        struct.pack_into("<Q", content, header + field, value)
    for row in _check(bytes(content), tmp_path / "file"):
        assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)
        assert said in row.detail


@pytest.mark.parametrize(
    ("fields", "said"),  # where the header has their place and number, and the size of one
    [((32, 56, _PHDR), "program headers"), ((40, 60, _SHDR), "sections")],
)
def test_more_headers_than_any_program_has_are_refused(
    original: bytes, tmp_path: Path, fields: tuple[int, int, int], said: str
) -> None:
    """The headers are all there, so only their number is against them."""
    place, count_at, size = fields
    content = bytearray(original)
    struct.pack_into("<Q", content, place, len(content))
    struct.pack_into("<H", content, count_at, 0xFEFF)
    for row in _check(bytes(content) + bytes(0xFEFF * size), tmp_path / "file"):
        assert row.reason is Reason.MALFORMED_ELF
        assert f"65279 {said}" in row.detail


def test_strings_that_are_no_strings_are_refused(original: bytes, tmp_path: Path) -> None:
    _, sections = _tables(original)
    (shoff,) = struct.unpack_from("<Q", original, 40)
    table = next(i for i, section in enumerate(sections) if section[1] == _SHT_SYMTAB)
    content = bytearray(original)
    struct.pack_into("<I", content, shoff + table * _SHDR + 40, table)  # its own entries
    for row in _check(bytes(content), tmp_path / "file"):
        assert row.reason is Reason.MALFORMED_ELF
        assert "no strings" in row.detail


def test_a_name_that_is_longer_than_any_is_no_name(original: bytes, tmp_path: Path) -> None:
    strings = b"\0" + b"a" * 4095 + b"\0" + b"b" * 4096 + b"\0"
    symbols = _symbol(1, _address(original)) + _symbol(4097, _address(original))
    evidence = _check(_with_symbols(original, symbols, strings), tmp_path / "file")
    names = {row.probe.rpartition(":")[2] for row in evidence if row.verdict is Verdict.PENDING}
    assert names == {"a" * 4095, "exported", "another"}


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"new\nline",
        b"\x1b[31m",
        b"a:b",
        b"with\xc2\xa0space",
        b"[",
        b"f+0x1",
        b"0x1000",
    ],
)
def test_names_that_cannot_be_spelt_are_counted_and_never_printed(
    original: bytes, tmp_path: Path, raw: bytes
) -> None:
    strings = b"\0good\0" + raw + b"\0\xfe\0"
    symbols = _symbol(1, _address(original)) + _symbol(6, _address(original))
    symbols += struct.pack("<IBBHQQ", 7 + len(raw), 2, 0, 0, 0, 0)  # imported, so no function of this file
    evidence = _check(_with_symbols(original, symbols, strings), tmp_path / "file")
    rows = {row.probe: row for row in evidence}
    assert f"uprobe:{tmp_path / 'file'}:good" in rows
    counted = rows[f"uprobe:{tmp_path / 'file'}:*"]
    assert counted.verdict is Verdict.EXCLUDED
    assert counted.detail.startswith("1 function")


def _with_sparse_table(original: bytes, path: Path, count: int) -> None:
    """Write the original with a symbol table of `count` entries that take no space on the disk."""
    _, sections = _tables(original)
    (shoff,) = struct.unpack_from("<Q", original, 40)
    table = next(i for i, section in enumerate(sections) if section[1] == _SHT_SYMTAB)
    content = bytearray(original)
    struct.pack_into("<QQ", content, shoff + table * _SHDR + 24, len(content), count * _SYM)
    path.write_bytes(content)
    os.truncate(path, len(content) + count * _SYM)


def test_more_symbols_than_any_program_has_are_refused(original: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    _with_sparse_table(original, path, 5_000_001)
    (row,) = Finder().find([ProbePattern.parse(f"uprobe:{path}:*")])
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)
    assert "5000000 symbols" in row.detail


@pytest.mark.parametrize(
    "error",
    [
        ELFParseError("of pyelftools"),
        ConstructError("of the parser below it"),
        AssertionError(),
        KeyError("EM_NONE"),
        IndexError(),
        ValueError("of numpy"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of names"),
        OverflowError(),
        AttributeError("of a structure"),
        TypeError("of an enumeration"),
        struct.error("of lengths"),
        MemoryError(),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_parser_raises_is_a_row(
    original: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def raising(elf: Elf) -> None:
        raise error

    monkeypatch.setattr(Elf, "segments", raising)
    for row in _check(original, tmp_path / "file"):
        assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)


def test_a_defect_of_the_finder_is_not_taken_for_damage(
    original: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(elf: Elf) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Elf, "segments", raising)
    with pytest.raises(NotImplementedError):
        _check(original, tmp_path / "file")


@pytest.mark.parametrize("kind", ["property", "empty notes"])
def test_notes_of_a_hostile_size_end_at_once(original: bytes, tmp_path: Path, kind: str) -> None:
    """A note may claim 4 GiB, and 4 GiB may be full of notes; only a stripped file's notes are read."""
    programs, sections = _tables(original)
    phoff, shoff = struct.unpack_from("<QQ", original, 32)
    content = bytearray(original)
    for i, section in enumerate(sections):
        if section[1] == _SHT_SYMTAB:
            struct.pack_into("<I", content, shoff + i * _SHDR + 4, 0)  # no longer a symbol table
    note = next(i for i, header in enumerate(programs) if header[0] == 4)
    struct.pack_into("<Q", content, phoff + note * _PHDR + 8, len(content))
    size = 1 << 31
    struct.pack_into("<Q", content, phoff + note * _PHDR + 32, size)
    if kind == "property":
        content += struct.pack("<III4s", 4, 0xFFFFFFFF, 5, b"GNU\0")
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(len(content) + size)
    began = time.process_time()
    found = Finder().find([ProbePattern.parse(f"uprobe:{path}:*")])
    assert time.process_time() - began < 1
    assert any(row.verdict is Verdict.PENDING for row in found)


LIMITED = """
import resource, sys
from pathlib import Path
from ebpf_bot_core import ProbePattern
from ebpf_bot_linux.finding.elf import Elf
from ebpf_bot_linux.finding.finder import Finder
patterns = [ProbePattern.parse(f"uprobe:{path}:*") for path in sys.argv[1:]]
Finder().find(patterns[:1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
for pattern in patterns:
    print({row.verdict.label for row in Finder().find([pattern])})
"""


def test_where_memory_is_short_a_large_table_is_a_row(original: bytes, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(original)
    _with_sparse_table(original, large, 4_000_000)
    command = [sys.executable, "-c", LIMITED, str(small), str(large)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0].count("pending") == 1
    assert done.stdout.splitlines()[1:] == ["{'refused'}"]
