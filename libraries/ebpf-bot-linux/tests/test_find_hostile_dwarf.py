"""Debug information that somebody damaged on purpose: rows, in bounded time, and no sentence that makes no sense."""

from __future__ import annotations

import lzma
import struct
import subprocess
import time
from pathlib import Path

import pytest
from ebpf_bot_linux.finding import inlining, section_data
from ebpf_bot_linux.finding.damage import ElfError
from ebpf_bot_linux.finding.dwarf_abbreviations import signed_leb, uleb
from ebpf_bot_linux.finding.finder import Finder
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import ProbeEvidence, ProbePattern, Reason, Verdict

SOURCE = """
volatile int sink;
static inline int everywhere(int x) { return x * sink; }
int also_inlined(int x) { return everywhere(x) + sink; }
int main(int argc, char **argv) { return also_inlined(argc) + everywhere(argc); }
"""
NAMES = ("everywhere", "also_inlined", "main", "sink", "nothing")
SECTIONS = (".debug_info", ".debug_abbrev", ".debug_str", ".debug_line_str")


@pytest.fixture(scope="module", params=["-gdwarf-4", "-gdwarf-5", "-flto"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("original") / "target"
    source = path.with_suffix(".c")
    source.write_text(SOURCE)
    flags = ["-O2", "-g", request.param, "-w"]
    subprocess.run(["gcc", *flags, "-o", path, source], check=True, timeout=60)
    return path.read_bytes()


def parts(content: bytes, path: Path) -> list[tuple[int, int]]:
    """Return offset and size of the sections of debug information, as pyelftools has them."""
    path.write_bytes(content)
    with path.open("rb") as stream:
        found = [ELFFile(stream).get_section_by_name(name) for name in SECTIONS]
    return [(section["sh_offset"], section["sh_size"]) for section in found if section is not None]


def look(path: Path) -> dict[str, ProbeEvidence]:
    began = time.process_time()
    patterns = [ProbePattern.parse(f"uprobe:{path}:{name}") for name in NAMES]
    found = {
        row.probe.rpartition(":")[2]: row for row in Finder(debug_root=Path("/nonexistent")).find(patterns)
    }
    assert time.process_time() - began < 1
    return found


def test_the_original_is_read(original: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(original)
    found = look(path)
    assert (found["everywhere"].verdict, found["everywhere"].reason) == (Verdict.MISSING, Reason.INLINED)
    assert found["nothing"].reason is Reason.NOT_FOUND
    assert found["main"].reason is Reason.NOT_EXAMINED


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damages=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=6,
    )
)
def test_no_damage_raises_or_takes_long(
    original: bytes, tmp_path: Path, damages: list[tuple[int, int, bytes]]
) -> None:
    path = tmp_path / "file"
    content, sections = bytearray(original), parts(original, path)
    for which, place, new in damages:
        start, size = sections[which % len(sections)]
        at = start + place % size
        fitting = new[: start + size - at]
        content[at : at + len(fitting)] = fitting
    path.unlink()
    path.write_bytes(content)
    for name, row in look(path).items():
        assert row.reason in (Reason.INLINED, Reason.NOT_FOUND, Reason.NOT_EXAMINED, Reason.DATA_SYMBOL), name
        assert row.detail.isprintable()
        row.detail.encode()


def test_what_would_take_too_long_is_not_read(
    original: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(original)
    monkeypatch.setattr(inlining, "_BUDGET", 10)
    assert look(path)["everywhere"].reason is Reason.NOT_FOUND, "more than may be read"
    monkeypatch.setattr(inlining, "_MAX_SECTION", 10)
    assert look(path)["everywhere"].reason is Reason.NOT_FOUND, "larger than may be loaded"


@given(st.integers(0, (1 << 64) - 1))
def test_unsigned_numbers(number: int) -> None:
    encoded = bytearray()
    rest = number
    while True:
        rest, low = rest >> 7, rest & 0x7F
        encoded.append(low | (0x80 if rest else 0))
        if not rest:
            break
    assert uleb(bytes(encoded) + b"\x7f", 0) == (number, len(encoded))


@pytest.mark.parametrize(
    ("encoded", "number"),
    [(b"\x02", 2), (b"\x7e", -2), (b"\xff\x00", 127), (b"\x81\x7f", -127), (b"\x80\x7f", -128)],
)
def test_signed_numbers(encoded: bytes, number: int) -> None:
    """The examples of the DWARF 5 standard, table 7.8."""
    assert signed_leb(encoded, 0) == (number, len(encoded))


def test_a_number_without_an_end_is_refused() -> None:
    with pytest.raises(ElfError):
        uleb(b"\xff" * 20, 0)


@pytest.mark.parametrize("claimed", [0, 1000, 1 << 40])
def test_a_compressed_section_gives_no_more_than_it_says(tmp_path: Path, claimed: int) -> None:
    source, path = tmp_path / "target.c", tmp_path / "target"
    source.write_text(SOURCE + "".join(f"int f{i}(int x) {{ return x + {i}; }}\n" for i in range(100)))
    subprocess.run(["gcc", "-O2", "-g", "-gz=zlib", "-o", path, source], check=True, timeout=60)
    assert look(path)["everywhere"].reason is Reason.INLINED
    content = bytearray(path.read_bytes())
    start, _ = parts(bytes(content), path)[0]
    (kind, _, size) = struct.unpack_from("<IIQ", content, start)
    assert (kind, size > 1000) == (1, True)
    struct.pack_into("<Q", content, start + 8, claimed)
    path.write_bytes(content)
    assert look(path)["everywhere"].reason is Reason.NOT_FOUND


def test_packed_symbols_that_are_damaged_are_refused() -> None:
    with pytest.raises(ElfError):
        section_data.unpacked_xz(b"\xfd7zXZ\0" + bytes(50), 1000)
    with pytest.raises(ElfError):
        section_data.unpacked_xz(lzma.compress(bytes(50_000_000)), 1000)
