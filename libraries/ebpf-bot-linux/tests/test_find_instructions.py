"""Functions on which uprobes could never fire, and code that runs when a file is loaded."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.points import FunctionPoint

from ebpf_bot_core import ProbePattern, Reason, Verdict

Assemble = Callable[..., Path]

# The first bytes of functions, and whether the kernel's uprobes refuse them.
FIRST = {
    "plain": ("55", False),
    "endbr64": ("f3 0f 1e fa", False),
    "fs_prefix": ("64 48 8b 04 25 28 00 00 00", False),
    "gs_prefix": ("65 48 8b 04 25 00 00 00 00", False),
    "operand_size": ("66 90", False),
    "rex_before_lock": ("48 f0 83 07 01", False),  # after REX there are no legacy prefixes
    "lock_in_second": ("90 f0 48 83 07 01", False),
    "lock": ("f0 48 83 07 01", True),
    "rep_lock": ("f3 f0 48 83 07 01", True),
    "es_prefix": ("26 8b 07", True),
    "ss_prefix": ("36 8b 07", True),
    "cs_nop": ("66 2e 0f 1f 84 00 00 00 00 00", True),
    "many_prefixes": ("66 66 66 66 66 2e 0f 1f 84 00 00 00 00 00", True),
    "notrack_jump": ("3e ff e0", True),
    "breakpoint": ("cc", True),
}


@pytest.fixture
def assemble(tmp_path: Path) -> Assemble:
    def run(name: str, source: str, *flags: str) -> Path:
        text = tmp_path / f"{name}.s"
        text.write_text(source)
        path = tmp_path / name
        subprocess.run(["gcc", "-nostdlib", *flags, "-o", path, text], check=True, capture_output=True)
        return path

    return run


def function(name: str, code: str, *, section: str = ".text") -> str:
    octets = ", ".join(f"0x{octet}" for octet in code.split())
    return f'.section {section}, "ax"\n.globl {name}\n.type {name}, @function\n{name}: .byte {octets}\n'


def find(path: Path, name: str = "*") -> dict[str, Verdict]:
    found = Finder().find([ProbePattern.parse(f"uprobe:{path}:{name}")])
    return {row.probe.rpartition(":")[2]: row.verdict for row in found}


@pytest.fixture
def first(assemble: Assemble) -> Path:
    return assemble("first.so", "".join(function(name, code) for name, (code, _) in FIRST.items()), "-shared")


def test_functions_that_uprobes_refuse_are_blind(first: Path) -> None:
    assert find(first, "[a-z]*") == {
        name: Verdict.BLIND if refused else Verdict.PENDING for name, (_, refused) in FIRST.items()
    }
    finder = Finder()
    (row,) = finder.find([ProbePattern.parse(f"uretprobe:{first}:lock")])
    assert (row.verdict, row.reason) == (Verdict.BLIND, Reason.UNSUPPORTED_INSTRUCTION)
    assert "never fire" in row.detail
    (refusal,) = finder.points([f"uretprobe:{first}:lock"])
    assert isinstance(refusal, UnprobeableError)


def test_a_prefix_as_the_last_byte_of_a_file_is_no_reason_to_read_beyond_it(
    assemble: Assemble, tmp_path: Path
) -> None:
    flags = ("-static", "-Wl,-N", "-Wl,-e,f", "-Wl,--build-id=none")
    source = function("f", "90 90 90 90 90 90 90 66")
    path = assemble("whole", source, *flags)
    (point,) = Finder().points([f"uprobe:{path}:f"])
    assert isinstance(point, FunctionPoint)
    ((start, size),) = point.binary.segments
    # The same code at the very end of a file, after the tables.
    content = bytearray(path.read_bytes())
    end = (len(content) + 4096 + start % 4096) // 4096 * 4096 + start % 4096
    content = content.ljust(end, b"\0") + content[start : start + size]
    content[64 + 8 : 64 + 16] = end.to_bytes(8, "little")  # p_offset of the first program header
    moved = tmp_path / "moved"
    moved.write_bytes(content)
    (row,) = Finder().find([ProbePattern.parse(f"uprobe:{moved}:f")])
    assert row.verdict is Verdict.PENDING
    (point,) = Finder().points([f"uprobe:{moved}:f"])
    assert isinstance(point, FunctionPoint)
    assert point.offsets == (end,)


def test_good_copies_of_a_function_are_probed_without_the_bad_ones(assemble: Assemble) -> None:
    local = ".type twin, @function\ntwin: .byte {}\n"
    one = function("f", "55") + local.format("0xf0, 0x48, 0x83, 0x07, 0x01")
    path = assemble("one.o", one, "-c")
    both = assemble("both.so", local.format("0x55, 0xc3"), "-shared", str(path))
    addresses = [line.split()[0] for line in _output("nm", both).splitlines() if line.endswith(" twin")]
    assert len(addresses) == 2
    (point,) = Finder().points([f"uprobe:{both}:twin"])
    assert isinstance(point, FunctionPoint)
    assert [both.read_bytes()[offset] for offset in point.offsets] == [0x55]


def test_the_silence_of_a_function_of_which_a_copy_cannot_be_probed_proves_nothing(
    assemble: Assemble,
) -> None:
    """A loop right behind the LOCK leaves no place for a probe; `moved` has one behind it, but not for its return."""
    looped, straight = "f0 48 83 07 01 eb fe", "f0 48 83 07 01 90 c3"
    sized = "{0}.size {1}, .-{1}\n"
    twin = ".text\n.type twin, @function\ntwin: .byte 0x55, 0xc3\n"
    one = assemble("one.o", sized.format(function("twin", looped).replace(".globl twin\n", ""), "twin"), "-c")
    made = "".join(
        sized.format(function(f'"{name}"', code), f'"{name}"')
        for name, code in (
            ("seen.constprop.0", looped),
            ("seen", "55 c3"),
            ("moved.constprop.0", straight),
            ("moved", "55 c3"),
            ("seen.cold", straight),
            ("moved.cold", looped),
            ("only.constprop.0", looped),
            ("only.constprop.1", "55 c3"),
        )
    )
    path = assemble("both.so", twin + made, "-shared", str(one))

    def row(name: str) -> tuple[Verdict, Reason, bool]:
        (found,) = Finder().find([ProbePattern.parse(f"{name.replace(':', f':{path}:')}")])
        return found.verdict, found.reason, "1 of 2 places cannot be probed" in found.detail

    unseen = Verdict.PENDING, Reason.UNSUPPORTED_INSTRUCTION, True
    seen = Verdict.PENDING, Reason.NOT_EXAMINED, False
    blind = Verdict.BLIND, Reason.UNSUPPORTED_INSTRUCTION, False
    split = Verdict.EXCLUDED, Reason.SPLIT_PART, False
    names = ("twin", "seen", "moved", "only", "seen.constprop.0", "seen.cold", "moved.cold")
    assert {name: row(f"uprobe:{name}") for name in names} == {
        "twin": unseen,
        "seen": unseen,
        "moved": seen,
        "only": unseen,
        "seen.constprop.0": blind,
        "seen.cold": split,
        "moved.cold": split,
    }
    assert {name: row(f"uretprobe:{name}") for name in ("twin", "moved", "moved.constprop.0")} == {
        "twin": unseen,
        "moved": unseen,
        "moved.constprop.0": blind,
    }
    (point,) = Finder().points([f"uprobe:{path}:moved"])
    assert isinstance(point, FunctionPoint)
    assert [path.read_bytes()[at] for at in sorted(point.sites)] == [0x90, 0x55]


@pytest.mark.live
def test_the_kernel_refuses_exactly_the_functions_that_are_called_blind(first: Path) -> None:
    """While the file is mapped perf_event_open(2) says at once what otherwise shows as a probe that never fires."""
    kind = Path("/sys/bus/event_source/devices/uprobe/type")
    if os.geteuid() != 0 or not kind.exists():
        pytest.skip("opening a uprobe needs root and CONFIG_UPROBE_EVENTS")
    refused = {}
    addresses = {line.split()[2]: int(line.split()[0], 16) for line in _output("nm", first).splitlines()}
    with (
        first.open("rb") as file,
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    ):
        for name in FIRST:  # p_offset equals p_vaddr in the code of such a small library
            refused[name] = _open_uprobe(int(kind.read_text()), first, addresses[name]) == 524
    assert refused == {name: expected for name, (_, expected) in FIRST.items()}


def _open_uprobe(kind: int, path: Path, offset: int) -> int:
    """Open and close a uprobe; return 0, or the error of perf_event_open(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    name = ctypes.create_string_buffer(bytes(path))
    attributes = bytearray(136)  # struct perf_event_attr: type, size; config1: the path, config2: the offset
    struct.pack_into("<II", attributes, 0, kind, len(attributes))
    struct.pack_into("<QQ", attributes, 56, ctypes.addressof(name), offset)
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    descriptor = libc.syscall(298, buffer, -1, 0, ctypes.c_int(-1), ctypes.c_ulong(8))
    if descriptor < 0:
        return ctypes.get_errno()
    os.close(descriptor)
    return 0


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _load_offset(path: Path) -> int | None:
    names = Finder().find([ProbePattern.parse(f"uprobe:{path}:*")])
    pending = next(row.probe for row in names if row.verdict is Verdict.PENDING)
    (point,) = Finder().points([pending])
    assert isinstance(point, FunctionPoint)
    return point.binary.load_offset


def _offset_of(path: Path, symbol: str) -> int:
    """Return a symbol's file offset from what nm and readelf say."""
    (address,) = [
        int(line.split()[0], 16) for line in _output("nm", path).splitlines() if line.endswith(f" {symbol}")
    ]
    return _offset_at(path, address)


def _offset_at(path: Path, address: int) -> int:
    loads = re.findall(r"^ +LOAD +(\w+) (\w+) \w+ (\w+) ", _output("readelf", "-lW", path), re.MULTILINE)
    for offset, start, size in (tuple(int(field, 16) for field in load) for load in loads):
        if start <= address < start + size:
            return address - start + offset
    raise AssertionError(f"no segment holds {address:#x}")


CODE = function("f", "55 c3") + function("begin", "90 c3") + function("late", "90 90 c3")
ARRAY = '.section .init_array, "aw"\n.quad begin, late\n'


@pytest.mark.parametrize("flags", [("-pie", "-lc"), ("-no-pie", "-lc"), ("-static",), ("-static-pie",)])
def test_a_program_begins_at_its_entry_point(assemble: Assemble, flags: tuple[str, ...]) -> None:
    path = assemble("program", CODE + ARRAY, "-Wl,-e,late", *flags)
    entry = re.search(r"Entry point address: +(\w+)", _output("readelf", "-hW", path))
    assert entry is not None
    assert _load_offset(path) == _offset_at(path, int(entry[1], 16)) == _offset_of(path, "late")


@pytest.mark.parametrize(
    ("source", "flags", "symbol"),
    [
        (CODE + ARRAY, ("-Wl,-init=late",), "late"),
        (CODE + ARRAY, ("-Wl,-init=none",), "begin"),
        (CODE + ARRAY, ("-Wl,-init=none", "-Wl,-z,pack-relative-relocs"), "begin"),
        (
            CODE
            + ARRAY.replace("begin", "begin_hidden").replace(".quad", ".hidden begin_hidden\n.quad")
            + function("begin_hidden", "90 90"),
            ("-Wl,-init=none",),
            "begin_hidden",
        ),
        (CODE + ARRAY, ("-Wl,-init=bad",), "begin"),
    ],
    ids=["DT_INIT", "symbolic", "DT_RELR", "DT_RELA", "a refused DT_INIT is passed over"],
)
def test_a_library_begins_at_its_first_initialiser(
    assemble: Assemble, source: str, flags: tuple[str, ...], symbol: str
) -> None:
    path = assemble(
        "library.so", source + function("bad", "f0 48 83 07 01"), "-shared", "-Wl,-Bsymbolic", *flags
    )
    assert _load_offset(path) == _offset_of(path, symbol)


def test_the_relocation_says_what_the_linker_did_not_store(assemble: Assemble) -> None:
    """GNU ld stores the address in the array too; others leave that to the relocation."""
    path = assemble("library.so", CODE + ARRAY, "-shared", "-Wl,-Bsymbolic", "-Wl,-init=none")
    array = re.search(r"\.init_array +INIT_ARRAY +\w+ (\w+)", _output("readelf", "-SW", path))
    assert array is not None
    at = int(array[1], 16)
    content = bytearray(path.read_bytes())
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    assert _load_offset(path) == _offset_of(path, "begin")


@pytest.mark.parametrize(
    "source",
    [
        CODE,
        CODE + '.section .init_array, "aw"\n.quad 0\n',
        CODE + '.section .init_array, "aw"\n.quad 0x123456789\n',
    ],
    ids=["no initialiser", "an empty one", "one outside the file"],
)
def test_a_library_without_an_initialiser_that_can_be_probed_has_no_load_offset(
    assemble: Assemble, source: str
) -> None:
    assert _load_offset(assemble("library.so", source, "-shared", "-Wl,-init=none")) is None


def test_a_library_that_can_be_run_still_begins_at_its_initialiser() -> None:
    """libc.so.6 names an interpreter and has an entry point; neither has a part in loading it."""
    listed = _output("/sbin/ldconfig", "-p")
    found = re.search(r"^\tlibc\.so\.6 \(libc6,(?:x86-64|AArch64).*=> (.*)$", listed, re.MULTILINE)
    assert found is not None
    path = Path(found[1])
    entry = re.search(r"Entry point address: +(\w+)", _output("readelf", "-hW", path))
    assert entry is not None
    offset = _load_offset(path)
    assert offset is not None
    assert offset != _offset_at(path, int(entry[1], 16))
