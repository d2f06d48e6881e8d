"""What usdt patterns find, held against readelf; and notes that somebody damaged on purpose."""

from __future__ import annotations

import re
import struct
import subprocess
import time
from pathlib import Path

import pytest
from ebpf_bot_linux.finding import usdt_table
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.points import UsdtPoint
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict

SOURCE = """
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
__attribute__((section(".probes"))) unsigned short first, shop_paid_semaphore, shop_sold_semaphore, bank_paid_semaphore;
void work(int x) {
    DTRACE_PROBE(shop, paid);
    if (x) DTRACE_PROBE1(shop, sold, x); else DTRACE_PROBE2(shop, sold, x, x);
    DTRACE_PROBE(bank, paid);
}
"""
PLAIN = """
#include <sys/sdt.h>
void work(int x) { DTRACE_PROBE(shop, paid); DTRACE_PROBE1(shop, sold, x); DTRACE_PROBE(shop, sold); }
"""
_READELF = re.compile(
    r"Provider: (\S+)\s+Name: (\S+)\s+Location: (\w+), Base: (\w+), Semaphore: (\w+)", re.MULTILINE
)
_PT_LOAD, _PF_X, _PF_W = 1, 1, 2


def _compile(path: Path, source: str, *flags: str) -> Path:
    path.with_suffix(".c").write_text(source)
    command = ["gcc", "-O1", "-shared", "-fPIC", "-nostdlib", "-o", path, path.with_suffix(".c"), *flags]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = _compile(tmp_path_factory.mktemp("usdt") / "small.so", SOURCE)
    assert path.stat().st_size < 20_000
    return path


@pytest.fixture
def copy(library: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy.so"
    path.write_bytes(library.read_bytes())
    return path


def find(*texts: str) -> Evidence:
    return Finder().find([ProbePattern.parse(text) for text in texts])


def _segments(content: bytes) -> list[tuple[int, int, int, int]]:
    """Return flags, file offset, address and bytes in the file of each PT_LOAD segment."""
    (phoff,), (count,) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<H", content, 56)
    headers = (struct.unpack_from("<IIQQQQQQ", content, phoff + 56 * i) for i in range(count))
    return [
        (flags, at, address, size) for kind, flags, at, address, _, size, _, _ in headers if kind == _PT_LOAD
    ]


def _by_readelf(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Return the places and semaphores of each probe as offsets in the file."""
    shown = subprocess.run(["readelf", "-nW", path], check=True, capture_output=True, text=True).stdout
    segments = _segments(path.read_bytes())

    def offset(address: int, flag: int) -> int:
        return next(
            address - start + at
            for flags, at, start, size in segments
            if flags & flag and start <= address < start + size
        )

    found: dict[str, list[tuple[int, int]]] = {}
    for provider, name, place, _, semaphore in _READELF.findall(shown):
        raised = int(semaphore, 16)
        site = offset(int(place, 16), _PF_X), offset(raised, _PF_W) if raised else 0
        found.setdefault(f"{provider}:{name}", []).append(site)
    return {name: sorted(sites) for name, sites in sorted(found.items())}


def _note(content: bytes, provider: bytes, name: bytes) -> int:
    """Return where the descriptor of the first note of a probe begins."""
    return content.index(provider + b"\0" + name + b"\0") - 24


@pytest.mark.parametrize("source", [SOURCE, PLAIN], ids=["semaphores", "plain"])
def test_every_note_is_found_where_readelf_says(tmp_path: Path, source: str) -> None:
    path = _compile(tmp_path / "a.so", source)
    known = _by_readelf(path)
    found = find(f"usdt:{path}:*:*")
    assert list(found.probes) == [f"usdt:{path}:{name}" for name in known]
    assert {row.verdict for row in found} == {Verdict.PENDING}
    points = Finder().points(found.probes.names)
    for point, sites in zip(points, known.values(), strict=True):
        assert isinstance(point, UsdtPoint)
        assert list(point.sites) == sites
    assert len(known["shop:sold"]) == 2


@pytest.mark.parametrize("path", ["/usr/bin/python3.11", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"])
def test_what_distributions_ship_is_found(path: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"no {path} here")
    real = Path(path).resolve()
    known = _by_readelf(real)
    found = find(f"usdt:{path}:*:*")
    assert list(found.probes) == [f"usdt:{real}:{name}" for name in known]
    points = Finder().points(found.probes.names)
    assert [list(point.sites) for point in points if isinstance(point, UsdtPoint)] == list(known.values())


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("shop:*", ["shop:paid", "shop:sold"]),
        ("*:paid", ["bank:paid", "shop:paid"]),
        ("s[gh]op:?old", ["shop:sold"]),
        ("bank:paid", ["bank:paid"]),
    ],
)
def test_patterns_match_providers_and_names(library: Path, pattern: str, names: list[str]) -> None:
    assert list(find(f"usdt:{library}:{pattern}").probes) == [f"usdt:{library}:{name}" for name in names]
    wildcard = f"usdt:{library.parent}/*.so:{pattern}"
    assert list(find(wildcard).probes) == [f"usdt:{library}:{name}" for name in names]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("shop:payd", "has no USDT probe shop:payd; did you mean 'shop:paid'"),
        ("shop:x*", "none of the 3 USDT probes of"),
    ],
)
def test_what_is_not_there_is_missing(library: Path, pattern: str, said: str) -> None:
    (row,) = find(f"usdt:{library}:{pattern}")
    assert (row.probe, row.verdict, row.reason) == (
        f"usdt:{library}:{pattern}",
        Verdict.MISSING,
        Reason.NOT_FOUND,
    )
    assert said in row.detail
    (refusal,) = Finder().points([row.probe])
    assert isinstance(refusal, UnprobeableError)


def test_a_binary_without_probes_says_so(tmp_path: Path) -> None:
    path = _compile(tmp_path / "none.so", "int f(int x) { return x; }")
    (row,) = find(f"usdt:{path}:*:*")
    assert (row.verdict, row.reason, row.detail) == (
        Verdict.MISSING,
        Reason.NOT_FOUND,
        f"{path} has no USDT probes",
    )
    (row,) = find(f"usdt:{tmp_path}/n*.so:*:*")
    assert row.detail.startswith("none of the 1 files")


def test_a_binary_that_was_moved_to_other_addresses_keeps_its_places(copy: Path) -> None:
    """prelink moves all addresses but those in the notes, so here the notes are moved instead."""
    before = Finder().points([f"usdt:{copy}:shop:sold"])
    content = bytearray(copy.read_bytes())
    for found in re.finditer(rb"stapsdt\0", bytes(content)):
        at = found.end()
        moved = [
            (address + 0x7000) % (1 << 64) if address else 0
            for address in struct.unpack_from("<3Q", content, at)
        ]
        if moved[0] < 1 << 32 and moved[1] < 1 << 32:
            struct.pack_into("<3Q", content, at, *moved)
    copy.write_bytes(content)
    after = Finder().points([f"usdt:{copy}:shop:sold"])
    assert [point.sites for point in after if isinstance(point, UsdtPoint)] == [
        point.sites for point in before if isinstance(point, UsdtPoint)
    ]


@pytest.mark.parametrize(
    ("field", "value", "reason", "said"),
    [
        (0, 0x10, Reason.MALFORMED_ELF, "outside the executable parts"),
        (0, 1 << 63, Reason.MALFORMED_ELF, "outside the executable parts"),
        (2, 0x10, Reason.MALFORMED_ELF, "semaphore lies outside the writable parts"),
        (2, 1 << 62, Reason.MALFORMED_ELF, "semaphore lies outside the writable parts"),
        (2, None, Reason.MALFORMED_ELF, "at an odd place"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(
    copy: Path, field: int, value: int | None, reason: Reason, said: str
) -> None:
    content = bytearray(copy.read_bytes())
    at = _note(content, b"bank", b"paid") + 8 * field
    if value is None:
        value = struct.unpack_from("<Q", content, at)[0] + 1
    struct.pack_into("<Q", content, at, value)
    copy.write_bytes(content)
    rows = {row.probe.rpartition(f"{copy}:")[2]: row for row in find(f"usdt:{copy}:*:*")}
    assert rows["shop:paid"].verdict is rows["shop:sold"].verdict is Verdict.PENDING
    assert (rows["bank:paid"].verdict, rows["bank:paid"].reason) == (Verdict.REFUSED, reason)
    assert said in rows["bank:paid"].detail


def test_a_note_without_a_base_is_taken_as_it_is(copy: Path) -> None:
    known = _by_readelf(copy)["bank:paid"]
    content = bytearray(copy.read_bytes())
    struct.pack_into("<Q", content, _note(content, b"bank", b"paid") + 8, 0)
    copy.write_bytes(content)
    (point,) = Finder().points([f"usdt:{copy}:bank:paid"])
    assert isinstance(point, UsdtPoint)
    assert list(point.sites) == known


@pytest.mark.parametrize(("back", "raw"), [(12, b"\4"), (8, b"S")], ids=["type", "owner"])
def test_notes_of_other_kinds_are_none_of_ours(copy: Path, back: int, raw: bytes) -> None:
    content = bytearray(copy.read_bytes())
    at = _note(content, b"bank", b"paid") - back
    content[at : at + 1] = raw
    copy.write_bytes(content)
    assert list(find(f"usdt:{copy}:*:*").probes) == [f"usdt:{copy}:shop:{name}" for name in ("paid", "sold")]


@pytest.mark.parametrize("both", [False, True])
def test_places_without_a_nop_are_left_out(copy: Path, both: bool) -> None:
    """Nothing else says that an instruction begins there, and a breakpoint within one would damage the program."""
    content = bytearray(copy.read_bytes())
    good, bad = (offset for offset, _ in _by_readelf(copy)["shop:sold"])
    for offset in (good, bad) if both else (bad,):
        content[offset] = 0x55
    copy.write_bytes(content)
    (row,) = find(f"usdt:{copy}:shop:sold")
    if both:
        assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)
        assert "nop" in row.detail
    else:
        (point,) = Finder().points([row.probe])
        assert isinstance(point, UsdtPoint)
        assert [offset for offset, _ in point.sites] == [good]


@pytest.mark.parametrize("raw", [b"\xff\xfe\xfd\xfc", b"p\nid", b"p:id", b"\0aid"])
def test_names_that_cannot_be_spelt_are_counted_and_never_printed(copy: Path, raw: bytes) -> None:
    content = bytearray(copy.read_bytes())
    at = content.index(b"bank\0paid\0") + 5
    content[at : at + 4] = raw
    copy.write_bytes(content)
    rows = {row.probe.rpartition(f"{copy}:")[2]: row for row in find(f"usdt:{copy}:*:*")}
    assert rows.keys() == {"*:*", "shop:paid", "shop:sold"}
    assert rows["*:*"].verdict is Verdict.EXCLUDED
    assert rows["*:*"].detail.startswith("1 USDT probes of")


def test_more_notes_than_any_program_has_are_refused(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usdt_table, "_MAX_NOTES", 100)
    (row,) = find(f"usdt:{library}:*:*")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)
    assert "larger than any" in row.detail
    assert {row.verdict for row in find(f"uprobe:{library}:work")} == {Verdict.PENDING}


def _check(content: bytes, path: Path) -> None:
    """Find all probes of the content: rows, in bounded time, and no place outside the file's segments."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    finder = Finder(debug_root=Path("/nonexistent"))
    began = time.process_time()
    evidence = finder.find([ProbePattern.parse(f"usdt:{path}:*:*")])
    points = finder.points([row.probe for row in evidence if row.verdict is Verdict.PENDING])
    assert time.process_time() - began < 1
    assert len(evidence) > 0
    for row in evidence:
        assert row.verdict is Verdict.PENDING or row.detail.isprintable()
        assert str(ProbePattern.parse(row.probe)) == row.probe
        row.probe.encode()
    for point in points:
        assert isinstance(point, UsdtPoint)
        assert point.sites
        segments = _segments(content)
        for offset, semaphore in point.sites:
            assert any(f & _PF_X and at <= offset < at + size <= len(content) for f, at, _, size in segments)
            assert content[offset : offset + 16].lstrip(b"\x66").startswith((b"\x90", b"\x0f\x1f"))
            assert semaphore % 2 == 0
            assert not semaphore or any(
                f & _PF_W and at <= semaphore < at + size <= len(content) for f, at, _, size in segments
            )


NUMBERS = st.one_of(
    st.sampled_from(
        [0, 1, 3, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
    ),
    st.integers(0, 0x5000),
    st.integers(0, (1 << 64) - 1),
)
DAMAGE = st.tuples(
    st.sampled_from(["notes", "notes", "notes", "programs", "sections", "anywhere"]),
    st.integers(0, 1 << 16),
    st.sampled_from([1, 2, 4, 8]),
    NUMBERS,
)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages=st.lists(DAMAGE, min_size=1, max_size=6), keep=st.one_of(st.none(), st.integers(0, 20_000)))
@example(damages=[("notes", 0, 4, 0xFFFFFFFF)], keep=None)  # a name, and
@example(damages=[("notes", 4, 4, 0xFFFFFFFF)], keep=None)  # a descriptor that never end
@example(damages=[("notes", 4, 4, 0)], keep=None)
def test_no_damage_raises_or_makes_up_a_place(
    library: Path, tmp_path: Path, damages: list[tuple[str, int, int, int]], keep: int | None
) -> None:
    content = bytearray(library.read_bytes())
    notes = content.index(b"stapsdt\0") - 12
    (programs, sections), (count,) = (
        struct.unpack_from("<QQ", content, 32),
        struct.unpack_from("<H", content, 60),
    )
    parts = {
        "notes": (notes, content.rindex(b"stapsdt\0") + 60 - notes),
        "programs": (programs, 56 * 8),
        "sections": (sections, 64 * count),
        "anywhere": (0, len(content)),
    }
    for where, place, width, number in damages:
        start, size = parts[where]
        at = start + place % max(1, size // width) * width
        content[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, "little")
    _check(bytes(content[:keep]), tmp_path / "file")


def test_as_many_notes_as_are_read_take_bounded_time(library: Path, tmp_path: Path) -> None:
    content = bytearray(library.read_bytes())
    place = struct.unpack_from("<3Q", content, _note(content, b"bank", b"paid"))
    notes = b"".join(
        struct.pack("<III8s3Q12s", 8, 36, 3, b"stapsdt", *place, b"%c\0%05d\0\0\0\0" % (97 + i % 26, i))
        for i in range((4 << 20) // 56)
    )
    (sections,), (count,) = struct.unpack_from("<Q", content, 40), struct.unpack_from("<H", content, 60)
    first = content.index(b"stapsdt\0") - 12
    header = next(
        at
        for at in range(sections, sections + 64 * count, 64)
        if struct.unpack_from("<Q", content, at + 24)[0] == first
    )
    struct.pack_into("<QQ", content, header + 24, len(content), len(notes))
    path = tmp_path / "many.so"
    path.write_bytes(bytes(content) + notes)
    began = time.process_time()
    found = find(f"usdt:{path}:*:*")
    assert time.process_time() - began < 5
    assert len(found) == (4 << 20) // 56
