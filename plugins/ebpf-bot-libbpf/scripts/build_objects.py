#!/usr/bin/env python3
"""Build the eBPF programs that the plugin ships, or check that what it ships is what their source gives.

    build_objects.py            compile, and write bpf/*.lskel
    build_objects.py --check    compile elsewhere and compare; exit status 1 if a byte differs

Needs clang, bpftool, libbpf's headers and pyelftools; none of them is needed where the plugin runs. The format that is
written is documented where it is read, in ebpf_bot_libbpf/lskel.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

BPF = Path(__file__).resolve().parent.parent / "src" / "ebpf_bot_libbpf" / "bpf"
KPROBE_MULTI, UPROBE_MULTI = 42, 48  # enum bpf_attach_type
# BPF_LD | BPF_IMM | BPF_DW, BPF_PSEUDO_MAP_IDX, BPF_PSEUDO_MAP_IDX_VALUE
LOAD_64, MAP, MAP_VALUE = 0x18, 5, 6
SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE
SLEEPABLE_SECTION = "kprobe.multi/sleepable"
CLANG = [
    "clang",
    "-O2",
    "-g",
    "-target",
    "bpf",
    "-mcpu=v3",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
]


class BuildError(Exception):
    """The objects cannot be built; the message is one line, or a compiler's."""


def main() -> int:
    """Build or check every source; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; compare with what is committed")
    check = parser.parse_args().check
    try:
        stale = [source for source in sorted(BPF.glob("*.bpf.c")) if not _build(source, check=check)]
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for source in stale:
        sys.stderr.write(
            f"{asset_of(source)} is not what {source.name} gives with {_version('clang')} and "
            f"{_version('bpftool')}: run {Path(__file__).name} and commit the result\n"
        )
    return 1 if stale else 0


def _build(source: Path, *, check: bool) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        built = container(source, Path(scratch))
    asset = asset_of(source)
    if not check:
        asset.write_bytes(built)
        sys.stdout.write(f"{asset}: {len(built)} bytes\n")
        return True
    return asset.exists() and asset.read_bytes() == built


def asset_of(source: Path) -> Path:
    """Return where the asset of a source stands."""
    return source.with_name(source.name.removesuffix(".bpf.c") + ".lskel")


def container(source: Path, scratch: Path) -> bytes:
    """Return the asset's bytes, which depend on the source and the tools' versions only."""
    elf = scratch / "object.o"
    # A relative name and a fixed directory, because both end up in the debug information.
    paths = [f"-I/usr/include/{platform.machine()}-linux-gnu", "-fdebug-compilation-dir=."]
    _run([*CLANG, *paths, "-c", source.name, "-o", str(elf)], cwd=source.parent)
    skeleton = _run(["bpftool", "gen", "skeleton", "-L", str(elf), "name", "object"], cwd=scratch)
    maps = re.findall(r"struct bpf_map_desc (\w+);", skeleton)
    templates = _templates(elf, maps)
    listed = re.findall(r"struct bpf_prog_desc (\w+);", skeleton)
    programs = [program for program in listed if program not in templates]
    data = _literal(skeleton, "data")
    may_sleep = _functions_in(elf, SLEEPABLE_SECTION)
    for program in programs:
        if program.startswith("uprobe_"):
            data = _attach_to_uprobes(data, program, may_sleep=program in may_sleep)
    insns = _literal(skeleton, "insns")
    header = {
        "format": "ebpf-bot/lskel/2",
        "source_sha256": digest(source),
        "maps": maps,
        "programs": programs,
        "variables": _variables(elf),
        "data": len(data),
        "insns": len(insns),
        "templates": {name: len(code) for name, code in templates.items()},
    }
    blobs = b"".join([data, insns, *templates.values()])
    return json.dumps(header, separators=(",", ":")).encode() + b"\n" + blobs


def digest(source: Path) -> str:
    """Return the SHA-256 of a source and, before it, of the headers beside it, any of which it may include."""
    files = [*sorted(source.parent.glob("*.bpf.h")), source]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _literal(skeleton: str, name: str) -> bytes:
    r"""Cut one of the two blobs out of the C header that bpftool writes: a string of `\xNN` and `\0`."""
    found = re.search(rf'opts[._]{name}\b[^="]*=[^"]*"\\\n(.*?)";', skeleton, re.DOTALL)
    if found is None:
        raise BuildError(f"no blob {name!r} in bpftool's skeleton: has its format changed?")
    digits = found[1].replace("\\\n", "").replace("\\0", "\\x00").replace("\\x", "")
    return bytes.fromhex(digits)


def _attach_to_uprobes(data: bytes, program: str, *, may_sleep: bool) -> bytes:
    """Set a program's expected attach type and flags, which libbpf before 1.3 cannot take from a section name.

    The blob holds the `union bpf_attr` that loads the program: prog_flags, its name in 16 bytes, prog_ifindex,
    expected_attach_type.
    """
    name = program.encode()[:15].ljust(16, b"\0")
    before = struct.pack("<I", 0) + name + struct.pack("<II", 0, KPROBE_MULTI)
    if data.count(before) != 1:
        raise BuildError(f"{program} does not stand in bpftool's skeleton exactly once as kprobe.multi")
    after = struct.pack("<I", SLEEPABLE if may_sleep else 0) + name + struct.pack("<II", 0, UPROBE_MULTI)
    return data.replace(before, after)


def _functions_in(elf: Path, section: str) -> set[str]:
    """Return the names of the functions in a section, which may not be there."""
    with elf.open("rb") as file:
        parsed = ELFFile(file)
        index, symbols = parsed.get_section_index(section), parsed.get_section_by_name(".symtab")
        if not isinstance(symbols, SymbolTableSection):
            raise BuildError("clang wrote no symbol table")
        return {
            symbol.name
            for symbol in symbols.iter_symbols()
            if index is not None and symbol["st_shndx"] == index and symbol["st_info"]["type"] == "STT_FUNC"
        }


def _variables(elf: Path) -> dict[str, dict[str, list[int]]]:
    """Return {map: {variable: [offset, bytes]}} of the global variables, all of which begin as zero."""
    found: dict[str, dict[str, list[int]]] = {}
    with elf.open("rb") as file:
        parsed = ELFFile(file)
        symbols = parsed.get_section_by_name(".symtab")
        if not isinstance(symbols, SymbolTableSection):
            raise BuildError("clang wrote no symbol table")
        for section in (".rodata", ".bss"):
            index = parsed.get_section_index(section)
            if index is None:
                continue
            if any(parsed.get_section(index).data()):
                raise BuildError(f"{section} is not all zero: give variables their values when loading")
            found[section[1:]] = {
                symbol.name: [symbol["st_value"], symbol["st_size"]]
                for symbol in sorted(symbols.iter_symbols(), key=lambda symbol: int(symbol["st_value"]))
                if symbol["st_shndx"] == index and symbol["st_info"]["type"] == "STT_OBJECT"
            }
    return found


def _templates(elf: Path, maps: list[str]) -> dict[str, bytes]:
    """Return {program: instructions} of the programs whose section begins with `?`, which the loader leaves out.

    References to maps and variables are made by the maps' numbers; lskel.py says how.
    """
    found = {}
    with elf.open("rb") as file:
        parsed = ELFFile(file)
        symbols = parsed.get_section_by_name(".symtab")
        for number, section in enumerate(parsed.iter_sections()):
            if not section.name.startswith("?"):
                continue
            if _has_core_relocations(parsed, section.name):
                raise BuildError(
                    f"{section.name} reads a field of the kernel's, whose place only the loader finds"
                )
            (name,) = [
                symbol.name
                for symbol in symbols.iter_symbols()
                if symbol["st_shndx"] == number and symbol["st_info"]["type"] == "STT_FUNC"
            ]
            code = bytearray(section.data())
            relocations = parsed.get_section_by_name(f".rel{section.name}")
            for relocation in relocations.iter_relocations() if relocations else ():
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                _refer(
                    code, relocation["r_offset"], parsed.get_section(symbol["st_shndx"]).name, symbol, maps
                )
            found[name] = bytes(code)
    return found


def _refer(code: bytearray, at: int, section: str, symbol: Symbol, maps: list[str]) -> None:
    """Make the 16-byte load at `at` refer to a map or a variable: opcode, registers, offset, two halves of a value."""
    in_map = section.lstrip(".")
    if code[at] != LOAD_64 or (section != ".maps" and in_map not in maps):
        raise BuildError(f"{symbol.name} in {section} is neither a map nor a variable")
    kind, name, offset = (MAP_VALUE, in_map, symbol["st_value"])
    if section == ".maps":
        kind, name, offset = (MAP, symbol.name, 0)
    code[at + 1] |= kind << 4
    struct.pack_into("<I", code, at + 4, maps.index(name))
    struct.pack_into("<I", code, at + 12, offset)


def _has_core_relocations(elf: ELFFile, section: str) -> bool:
    """Whether `.BTF.ext` (Documentation/bpf/btf.rst) lists any for a section."""
    strings = elf.get_section_by_name(".BTF").data()
    header, string_offset = struct.unpack_from("<4xI8xI", strings)
    data = elf.get_section_by_name(".BTF.ext").data()
    start, offset, length = struct.unpack_from("<4xI16xII", data)
    at, end = start + offset + 4, start + offset + length
    size = struct.unpack_from("<I", data, start + offset)[0] if length else 0
    while at < end:
        name, count = struct.unpack_from("<II", data, at)
        name += header + string_offset
        if strings[name : strings.index(b"\0", name)].decode() == section:
            return True
        at += 8 + count * size
    return False


def _run(command: list[str], *, cwd: Path) -> str:
    if shutil.which(command[0]) is None:
        raise BuildError(f"{command[0]} is not installed: apt-get install clang bpftool libbpf-dev")
    done = subprocess.run(  # noqa: S603 - a fixed command
        command, cwd=cwd, check=False, capture_output=True, encoding="latin-1"
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def _version(tool: str) -> str:
    lines = _run([tool, "version" if tool == "bpftool" else "--version"], cwd=Path.cwd()).splitlines()
    return lines[0].strip()


if __name__ == "__main__":
    sys.exit(main())
