"""What uprobe patterns find in sound binaries, held against readelf, nm and objdump."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from ebpf_bot_linux.finding import binaries
from ebpf_bot_linux.finding.elf import Elf
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.points import FunctionPoint

from ebpf_bot_core import Evidence, ProbeEvidence, ProbePattern, Reason, Verdict

ONE = r"""
#include <stdio.h>
int other(int);
int counter = 1, *pointer = &counter;
_Thread_local int per_thread;
__attribute__((noinline)) static int helper(int x) { asm(""); return x + counter; }
int exported(int x) { return helper(x) + per_thread; }
extern int alias(int) __attribute__((alias("exported")));
int main(int argc, char **argv) { puts(argv[0]); return other(exported(argc)); }
"""
TWO = r"""
__attribute__((noinline)) static int helper(int x) { asm(""); return x * 3; }
int other(int x) { return helper(x) + 1; }
"""
FREESTANDING = "int f(int x) { return x + 1; }\nstatic int g(int x) { return x; }\nint (*keep)(int) = g;\n"

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compile C (or, with `-xassembler`, assembly) to a file of this name."""

    def run(name: str, *sources: str, flags: tuple[str, ...] = ()) -> Path:
        suffix = "s" if "-xassembler" in flags else "c"
        files = []
        for number, source in enumerate(sources):
            files.append(tmp_path / f"{name}.{number}.{suffix}")
            files[-1].write_text(source)
        path = tmp_path / name
        command: list[str | Path] = [
            "gcc",
            "-O1",
            "-o",
            path,
            *(flag for flag in flags if flag != "-xassembler"),
            *files,
        ]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return run


@attrs.frozen
class Oracle:
    """What readelf says of a file's symbols, names without their versions."""

    offsets: dict[str, list[int]]  # of defined functions, ascending file offsets
    indirect: set[str]
    imported: set[str]
    data: set[str]

    @classmethod
    def of(cls, path: Path, *, segments_of: Path | None = None) -> Oracle:
        headers = _output("readelf", "-lW", segments_of or path)
        loads = re.findall(r"^ +LOAD +(\w+) (\w+) \w+ (\w+) \w+ (?:R|W| )*E", headers, re.MULTILINE)
        segments = [tuple(int(field, 16) for field in load) for load in loads]
        offsets: dict[str, set[int]] = defaultdict(set)
        imported, data, indirect = set(), set(), set()
        for line in _output("readelf", "-sW", path).splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
                continue
            name, value = fields[7].partition("@")[0], int(fields[1], 16)
            if fields[3] in ("FUNC", "IFUNC") and fields[6] == "UND":
                imported.add(name)
                continue
            if fields[3] == "IFUNC":
                indirect.add(name)
            if fields[3] in ("FUNC", "IFUNC"):
                offsets[name].update(
                    value - vaddr + offset
                    for offset, vaddr, size in segments
                    if vaddr <= value < vaddr + size
                )
            elif fields[3] in ("OBJECT", "TLS", "COMMON"):
                data.add(name)
        imported -= set(offsets)
        return cls(
            {n: sorted(o) for n, o in offsets.items()}, indirect, imported, data - imported - set(offsets)
        )


def _output(*command: str | Path) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8", errors="replace", env=environment
    ).stdout


def find(finder: Finder, *texts: str) -> Evidence:
    return finder.find([ProbePattern.parse(text) for text in texts])


def rows(evidence: Evidence) -> dict[str, ProbeEvidence]:
    return {row.probe: row for row in evidence}


def functions(evidence: Evidence, *verdicts: Verdict) -> set[str]:
    return {row.probe.rpartition(":")[2] for row in evidence if row.verdict in verdicts}


def offsets(finder: Finder, evidence: Evidence) -> dict[str, list[int]]:
    names = [row.probe for row in evidence if row.verdict is Verdict.PENDING]
    points = [point for point in finder.points(names) if isinstance(point, FunctionPoint)]
    return {name.rpartition(":")[2]: list(point.offsets) for name, point in zip(names, points, strict=True)}


COLD = re.compile(r"\.cold(\.\d+)?$")

SHAPES = {
    "pie": ((ONE, TWO), ("-pie", "-fPIE")),
    "no-pie": ((ONE, TWO), ("-no-pie", "-fno-pie")),
    "static": ((ONE, TWO), ("-static",)),
    "static-pie": ((ONE, TWO), ("-static-pie", "-fPIE")),
    "library": ((ONE, TWO), ("-shared", "-fPIC")),
    "no hash style": ((ONE, TWO), ("-shared", "-fPIC", "-Wl,--hash-style=sysv")),
    "prelinked": ((FREESTANDING,), ("-shared", "-fPIC", "-nostdlib", "-Wl,-Ttext-segment=0x4b1d000")),
    "high": ((FREESTANDING,), ("-shared", "-fPIC", "-nostdlib", "-Wl,-Ttext-segment=0x7fffffff0000")),
    "one segment": (
        (FREESTANDING,),
        ("-static", "-nostdlib", "-Wl,-N", "-Wl,-ef", "-Wl,-z,max-page-size=4096"),
    ),
    "text first": ((FREESTANDING,), ("-shared", "-fPIC", "-nostdlib", "-Wl,-z,noseparate-code")),
    "32 bit": ((FREESTANDING,), ("-m32", "-shared", "-fPIC", "-nostdlib")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_names_and_offsets_are_those_of_readelf(build: Build, shape: str) -> None:
    sources, flags = SHAPES[shape]
    path = build("target", *sources, flags=flags)
    expected = Oracle.of(path)
    finder = Finder()
    found = find(finder, f"uretprobe:{path}:*")  # which is never placed but at entries

    pending, blind = functions(found, Verdict.PENDING), functions(found, Verdict.BLIND)
    cold = {name for name in expected.offsets if COLD.search(name)}
    misrun = functions(found, Verdict.REFUSED) - {"*"}  # which says that the binary is stripped
    assert pending | blind | misrun == set(expected.offsets) - cold
    assert functions(found, Verdict.EXCLUDED) == expected.imported | expected.data | cold
    assert not functions(found, Verdict.MISSING)
    assert offsets(finder, found) == {name: expected.offsets[name] for name in pending}
    assert len(pending) > 1


def system_libraries() -> list[Path]:
    """libc, and where they are installed the two large ones that have their own peculiarities."""
    listed = _output("/sbin/ldconfig", "-p")
    found = re.findall(r"^\t(libc|libcrypto|libpython3\.\d+)\.so\.\S+ .*=> (.*)$", listed, re.MULTILINE)
    assert any(name == "libc" for name, _ in found)
    return [Path(path) for _, path in found]


@pytest.mark.parametrize("path", system_libraries(), ids=lambda path: path.name)
def test_system_libraries_are_as_readelf_says(path: Path) -> None:
    expected = Oracle.of(path)
    finder = Finder(debug_root=Path("/nonexistent"))
    found = find(finder, f"uretprobe:{path}:*")  # which is never placed but at entries
    pending, blind = functions(found, Verdict.PENDING), functions(found, Verdict.BLIND)
    cold = {name for name in expected.offsets if COLD.search(name)}
    misrun = functions(found, Verdict.REFUSED) - {"*"}  # which says that the binary is stripped
    assert pending | blind | misrun == set(expected.offsets) - cold
    assert functions(found, Verdict.EXCLUDED) == expected.imported | expected.data | cold
    assert offsets(finder, found) == {name: expected.offsets[name] for name in pending}
    # objdump decodes on its own: exactly the blind ones begin with what uprobes refuse.
    indirect = {row.probe.rpartition(":")[2] for row in found if row.reason is Reason.INDIRECT_FUNCTION}
    assert indirect <= expected.indirect
    assert blind - indirect == {
        name for name in set(expected.offsets) if _begins_badly(path, name, first_lines(path))
    }
    if path.name.startswith("libcrypto"):
        assert "EVP_MAC_up_ref" in blind


_DISASSEMBLED: dict[Path, dict[str, str]] = {}


def first_lines(path: Path) -> dict[str, str]:
    """Return the first instruction of each function as objdump writes it, by name."""
    if path not in _DISASSEMBLED:
        text = _output("objdump", "-dw", "--insn-width=15", path)
        entries = re.findall(r"^\w+ <(\S+)>:\n +\w+:\t(.*)$", text, re.MULTILINE)
        _DISASSEMBLED[path] = {name.partition("@")[0]: line for name, line in entries}
    return _DISASSEMBLED[path]


def _begins_badly(path: Path, name: str, lines: dict[str, str]) -> bool:
    words = lines.get(name, "\t").partition("\t")[2].split()
    return bool(words) and words[0] in ("lock", "int3", "es", "cs", "ss", "ds", "notrack")


def test_the_bytes_at_an_offset_are_those_that_objdump_shows_for_the_function(build: Build) -> None:
    path = build("target", ONE, TWO)
    finder = Finder()
    found = offsets(finder, find(finder, f"uprobe:{path}:*"))
    content = path.read_bytes()
    entries = re.findall(
        r"^\w+ <(\S+)>:\n +\w+:\t((?:\w\w )+)", _output("objdump", "-dw", path), re.MULTILINE
    )
    compared = 0
    for name, code in entries:
        expected = bytes.fromhex(code)
        if name in found:
            assert expected in [content[offset : offset + len(expected)] for offset in found[name]], name
            compared += 1
    assert compared >= 6


def test_a_name_at_several_addresses_is_one_probe_with_several_offsets(build: Build) -> None:
    path = build("target", ONE, TWO)
    finder = Finder()
    (point,) = finder.points([f"uprobe:{path}:helper"])
    addresses = [line.split()[0] for line in _output("nm", path).splitlines() if line.endswith(" helper")]
    assert isinstance(point, FunctionPoint)
    assert len(point.offsets) == len(set(addresses)) == 2
    assert list(point.offsets) == sorted(point.offsets)


def test_aliases_are_probes_of_their_own_at_the_same_place(build: Build) -> None:
    path = build("target", ONE, TWO)
    alias, exported = Finder().points([f"uprobe:{path}:alias", f"uprobe:{path}:exported"])
    assert alias == exported


def test_a_uretprobe_differs_only_in_where_it_fires(build: Build) -> None:
    path = build("target", ONE, TWO)
    finder = Finder()
    assert set(find(finder, f"uretprobe:{path}:ma?n").probes) == {f"uretprobe:{path}:main"}
    entry, leaving = finder.points([f"uprobe:{path}:main", f"uretprobe:{path}:main"])
    assert isinstance(entry, FunctionPoint)
    assert not entry.on_return
    assert leaving == attrs.evolve(entry, on_return=True)


def test_imports_and_data_are_excluded_with_their_reasons(build: Build) -> None:
    path = build("target", ONE, TWO)
    found = rows(find(Finder(), f"uprobe:{path}:*"))
    assert found[f"uprobe:{path}:puts"].reason is Reason.IMPORTED
    for data in ("counter", "pointer", "per_thread"):
        row = found[f"uprobe:{path}:{data}"]
        assert (row.verdict, row.reason) == (Verdict.EXCLUDED, Reason.DATA_SYMBOL)
        assert row.detail
    exact = find(Finder(), f"uprobe:{path}:puts", f"uprobe:{path}:counter")
    assert [row.reason for row in exact] == [Reason.IMPORTED, Reason.DATA_SYMBOL]


def test_an_indirect_function_is_blind_and_its_resolver_can_be_probed_by_its_own_name(build: Build) -> None:
    source = """
    static int fast(int x) { return x + 1; }
    static int (*choose(void))(int) { return fast; }
    int chosen(int) __attribute__((ifunc("choose")));
    """
    path = build("target.so", source, flags=("-shared", "-fPIC"))
    finder = Finder()
    (row,) = find(finder, f"uprobe:{path}:chosen")
    assert (row.verdict, row.reason) == (Verdict.BLIND, Reason.INDIRECT_FUNCTION)
    assert finder.points([f"uprobe:{path}:choose"])
    (refusal,) = finder.points([f"uprobe:{path}:chosen"])
    assert isinstance(refusal, UnprobeableError)


def test_versions_of_a_symbol_are_one_name(build: Build, tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.write_text("V1 { global: twice; local: *; };\nV2 { global: twice; } V1;\n")
    source = """
    __attribute__((symver("twice@V1"))) int twice_old(int x) { return x; }
    __attribute__((symver("twice@@V2"))) int twice_new(int x) { return x * 2; }
    """
    path = build("target.so", source, flags=("-shared", "-fPIC", f"-Wl,--version-script={versions}"))
    subprocess.run(["strip", path], check=True)
    finder = Finder()
    found = find(finder, f"uprobe:{path}:twice*")
    assert list(found.probes) == [f"uprobe:{path}:twice"]
    assert offsets(finder, found) == {"twice": Oracle.of(path).offsets["twice"]}
    assert len(offsets(finder, found)["twice"]) == 2


def test_a_stripped_library_still_has_what_it_exports(build: Build) -> None:
    path = build("target.so", ONE, TWO, flags=("-shared", "-fPIC"))
    subprocess.run(["strip", path], check=True)
    found = find(Finder(debug_root=Path("/nonexistent")), f"uprobe:{path}:*")
    assert functions(found, Verdict.PENDING) == {"exported", "alias", "main", "other"}


def test_a_stripped_program_is_refused_under_the_text_of_the_pattern(build: Build) -> None:
    path = build("target", ONE, TWO)
    subprocess.run(["strip", path], check=True)
    finder = Finder(debug_root=Path("/nonexistent"))
    row = rows(find(finder, f"uprobe:{path}:*"))[f"uprobe:{path}:*"]
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NO_SYMBOLS)
    (row,) = find(finder, f"uprobe:{path}:main")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NO_SYMBOLS)
    assert "/nonexistent/.build-id/" in row.detail


@pytest.fixture
def stripped(build: Build, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A stripped program, the same one before, and its debug file in its place below `debug`."""
    path = build("target", ONE, TWO, flags=("-g", "-Wl,--build-id"))
    whole = tmp_path / "whole"
    shutil.copy(path, whole)
    identity = re.search(r"Build ID: (\w+)", _output("readelf", "-n", path))
    assert identity is not None
    debug = tmp_path / "debug" / ".build-id" / identity[1][:2] / f"{identity[1][2:]}.debug"
    debug.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    subprocess.run(["strip", path], check=True)
    return path, whole, debug


def test_a_stripped_program_has_the_symbols_of_its_debug_file(
    stripped: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    path, whole, debug = stripped
    finder = Finder(debug_root=tmp_path / "debug")
    found = offsets(finder, find(finder, f"uprobe:{path}:*"))
    assert found == Oracle.of(whole).offsets
    assert found == Oracle.of(debug, segments_of=path).offsets
    assert "helper" in found


@pytest.mark.parametrize(
    "spoil", ["other build-id", "cut short", "no symbols' strings", "empty", "directory"]
)
def test_a_debug_file_that_is_not_that_of_the_program_is_not_used(
    stripped: tuple[Path, Path, Path], tmp_path: Path, spoil: str
) -> None:
    path, _, debug = stripped
    content = debug.read_bytes()
    identity = bytes.fromhex(debug.parent.name + debug.stem)
    if spoil == "other build-id":
        assert identity in content
        debug.write_bytes(content.replace(identity, bytes(len(identity))))
    elif spoil == "cut short":
        debug.write_bytes(content[: len(content) // 2])
    elif spoil == "no symbols' strings":
        at = _section_header(debug, "SYMTAB") + 0x28  # sh_link
        debug.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    elif spoil == "empty":
        debug.write_bytes(b"")
    else:
        debug.unlink()
        debug.mkdir()
    (row,) = find(Finder(debug_root=tmp_path / "debug"), f"uprobe:{path}:main")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NO_SYMBOLS)


def _section_header(path: Path, kind: str) -> int:
    """Return the file offset of the header of the first section of a type."""
    number = re.search(rf"\[ *(\d+)\] \S+ +{kind}", _output("readelf", "-SW", path))
    start = re.search(r"Start of section headers: +(\d+)", _output("readelf", "-hW", path))
    assert number is not None
    assert start is not None
    return int(start[1]) + 64 * int(number[1])


ODD_NAMES = """
.text
.macro function name
.globl "\\name"
.type "\\name", @function
"\\name": push %rbp
 ret
.endm
function "main.(*Server).Close"
function "main.(*Other).Close"
function "main.Map[...]"
function "plain.constprop.0"
function "type:.eq.main.T"
function "odd\x01name"
function "open[bracket"
function "at+0x10"
function "grün"
"""


def test_names_that_a_probe_name_can_spell_are_found_and_the_others_are_counted(build: Build) -> None:
    path = build("target.so", ODD_NAMES, flags=("-xassembler", "-shared", "-nostdlib"))
    listed = Oracle.of(path).offsets
    assert len(listed) == 9, "readelf and the assembler have all of them"
    finder = Finder()
    found = find(finder, f"uprobe:{path}:*")
    spelt = {"main.(*Server).Close", "main.(*Other).Close", "main.Map[...]", "plain.constprop.0", "grün"}
    assert functions(found, Verdict.PENDING) == spelt
    odd = rows(found)[f"uprobe:{path}:*"]
    assert odd.verdict is Verdict.EXCLUDED
    assert "4 functions" in odd.detail
    assert all(str(ProbePattern.parse(row.probe)) == row.probe for row in found)


@pytest.mark.parametrize("name", ["main.(*Server).Close", "main.Map[...]"])
def test_a_name_that_looks_like_a_wildcard_is_found_by_its_own_text(build: Build, name: str) -> None:
    path = build("target.so", ODD_NAMES, flags=("-xassembler", "-shared", "-nostdlib"))
    assert list(find(Finder(), f"uprobe:{path}:{name}").probes) == [f"uprobe:{path}:{name}"]


def test_a_mistyped_name_is_missing_and_the_nearest_ones_are_named(build: Build) -> None:
    path = build("target", ONE, TWO)
    (row,) = find(Finder(), f"uprobe:{path}:exprted")
    assert (row.probe, row.verdict, row.reason) == (
        f"uprobe:{path}:exprted",
        Verdict.MISSING,
        Reason.NOT_FOUND,
    )
    assert "'exported'" in row.detail
    (row,) = find(Finder(), f"uprobe:{path}:nothing_like_*")
    assert (row.probe, row.verdict) == (f"uprobe:{path}:nothing_like_*", Verdict.MISSING)
    assert "did you mean" not in row.detail


def test_patterns_that_overlap_name_each_probe_once_in_order(build: Build) -> None:
    path = build("target", ONE, TWO)
    found = find(
        Finder(), *(f"uprobe:{path}:{name}" for name in ("main", "other", "m*n", "main", "nope", "o*r"))
    )
    assert list(found.probes) == [f"uprobe:{path}:{name}" for name in ("main", "other", "nope")]
    assert [row.verdict for row in found] == [Verdict.PENDING, Verdict.PENDING, Verdict.MISSING]


def test_a_binary_is_read_once_for_many_patterns(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build("target", ONE, TWO)
    read = []

    class Counting(Elf):
        def __init__(self, file: OpenFile) -> None:
            read.append(file.path)
            super().__init__(file)

    monkeypatch.setattr(binaries, "Elf", Counting)
    finder = Finder(debug_root=Path("/nonexistent"))
    link = path.with_name("link")
    link.symlink_to(path)
    hard = path.with_name("hard")
    hard.hardlink_to(path)
    texts = [f"{kind}:{at}:m*" for at in (path, link, hard) for kind in ("uprobe", "uretprobe")]
    names = find(finder, *texts).probes
    assert set(names) == {f"{kind}:{at}:main" for at in (path, hard) for kind in ("uprobe", "uretprobe")}
    points = finder.points(names)
    assert len(read) == 1
    assert {point.binary.path for point in points if isinstance(point, FunctionPoint)} == {
        str(path),
        str(hard),
    }


def test_a_binary_that_changed_is_read_again(build: Build) -> None:
    path = build("target", ONE, TWO)
    finder = Finder()
    assert functions(find(finder, f"uprobe:{path}:g"), Verdict.MISSING)
    path.unlink()
    build("target", FREESTANDING, flags=("-shared", "-fPIC"))
    assert functions(find(finder, f"uprobe:{path}:g"), Verdict.PENDING)


def test_the_binary_is_identified_as_stat_has_it(build: Build) -> None:
    path = build("target", ONE, TWO)
    (point,) = Finder().points([f"uprobe:{path}:main"])
    status = path.stat()
    assert isinstance(point, FunctionPoint)
    binary = point.binary
    assert (binary.device, binary.inode, binary.mtime_ns, binary.size) == (
        status.st_dev,
        status.st_ino,
        status.st_mtime_ns,
        status.st_size,
    )
    loads = re.findall(
        r"^ +LOAD +(\w+) \w+ \w+ (\w+) \w+ (?:R|W| )*E", _output("readelf", "-lW", path), re.MULTILINE
    )
    assert binary.segments == tuple((int(offset, 16), int(size, 16)) for offset, size in loads)


@pytest.mark.parametrize("name", ["nope", "puts", "counter", "*"])
def test_points_of_what_cannot_be_placed_raise(build: Build, name: str) -> None:
    path = build("target", ONE, TWO)
    (refusal,) = Finder().points([f"uprobe:{path}:{name}"])
    assert isinstance(refusal, UnprobeableError)


def test_points_never_take_a_pattern_for_a_name(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row under the text of a pattern must not become a probe in a file that is called like its target."""
    path = build("libabsent", ONE, TWO)
    monkeypatch.chdir(path.parent)
    (refusal,) = Finder().points(["uprobe:libabsent:main"])
    assert isinstance(refusal, UnprobeableError)


def test_an_unlinked_object_and_a_foreign_program_say_what_they_are(build: Build) -> None:
    path = build("target.o", TWO, flags=("-c",))
    (row,) = find(Finder(), f"uprobe:{path}:other")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NOT_ELF)
    assert "not linked" in row.detail

    path = build("target", ONE, TWO)
    content = bytearray(path.read_bytes())
    content[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    path.write_bytes(content)
    (row,) = find(Finder(), f"uprobe:{path}:other")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NOT_ELF)
    assert "AARCH64" in row.detail


def test_a_function_outside_the_code_is_refused(build: Build) -> None:
    source = (
        ".data\n.globl odd\n.type odd, @function\nodd: .quad 0\n.text\n.globl f\n.type f, @function\nf: ret\n"
    )
    path = build("target.so", source, flags=("-xassembler", "-shared", "-nostdlib"))
    finder = Finder()
    found = rows(find(finder, f"uprobe:{path}:*"))
    assert found[f"uprobe:{path}:f"].verdict is Verdict.PENDING
    odd = found[f"uprobe:{path}:odd"]
    assert (odd.verdict, odd.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)
    (refusal,) = finder.points([odd.probe])
    assert isinstance(refusal, UnprobeableError)


def test_a_library_without_code_is_refused(build: Build) -> None:
    path = build("target.so", "int x = 1;", flags=("-shared", "-nostdlib", "-Wl,-z,separate-code"))
    (row,) = find(Finder(), f"uprobe:{path}:x")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NOT_ELF)
    assert "executable" in row.detail


def test_the_working_directory_is_where_a_relative_path_begins(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build("target", ONE, TWO)
    monkeypatch.chdir(path.parent)
    below = path.parent / "below"
    below.mkdir()
    for text in ("./target", "below/../target", "./t*t", f"{path.parent}/[t]arget"):
        assert list(find(Finder(), f"uprobe:{text}:main").probes) == [f"uprobe:{path}:main"]
    monkeypatch.chdir(below)
    below.rmdir()
    (row,) = find(Finder(), "uprobe:./target:main")
    assert (row.verdict, row.reason) == (Verdict.MISSING, Reason.BINARY_MISSING)
