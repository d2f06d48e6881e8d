"""Stripped binaries: what is left of their names, and the files that have the rest."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ebpf_bot_linux.finding import debug_files
from ebpf_bot_linux.finding.finder import Finder

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict

Build = Callable[..., Path]
NOWHERE = Path("/nonexistent")
SOURCE = """
__attribute__((noinline)) static int hidden(int x) { asm(""); return x + 1; }
int shown(int x) { return hidden(x); }
int main(void) { return shown(1); }
"""


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def find(path: Path, name: str, root: Path = NOWHERE) -> Evidence:
    return Finder(debug_root=root).find([ProbePattern.parse(f"uprobe:{path}:{name}")])


def pending(found: Evidence) -> set[str]:
    return {row.probe.rpartition(":")[2] for row in found if row.verdict is Verdict.PENDING}


@pytest.fixture
def library(build: Build) -> Path:
    return build(SOURCE, "-shared", "-fPIC", "-g", "-Wl,--build-id", name="library.so")


def test_a_library_that_shows_only_its_exports_says_so_under_the_pattern_for_all(library: Path) -> None:
    run("strip", library)
    found = find(library, "*")
    assert pending(found) == {"shown", "main"}
    (gap,) = [row for row in found if row.reason is Reason.NO_SYMBOLS]
    assert (gap.probe, gap.verdict) == (f"uprobe:{library}:*", Verdict.REFUSED)
    assert "no names but those of the 2 functions that it exports" in gap.detail
    assert "/nonexistent/.build-id/" in gap.detail


@pytest.mark.parametrize("name", ["hidden", "hid*"])
def test_of_a_name_that_may_have_been_stripped_nobody_can_say_that_it_is_missing(
    library: Path, name: str
) -> None:
    run("strip", library)
    (row,) = find(library, name)
    assert (row.probe, row.verdict, row.reason) == (
        f"uprobe:{library}:{name}",
        Verdict.REFUSED,
        Reason.NO_SYMBOLS,
    )
    assert pending(find(library, "sh*")) == {"shown"}
    assert len(find(library, "sh*")) == 1


def test_a_mistyped_export_of_a_stripped_library_is_still_suggested(library: Path) -> None:
    run("strip", library)
    (row,) = find(library, "shwon")
    assert "did you mean 'shown'?" in row.detail


def test_one_name_in_many_libraries_is_a_row_only_where_it_is(library: Path) -> None:
    run("strip", library)
    found = Finder(debug_root=NOWHERE).find([ProbePattern.parse(f"uprobe:{library.parent}/*.so:hidden")])
    assert [row.verdict for row in found] == [Verdict.MISSING]


@pytest.mark.parametrize("where", ["beside", "below", "under the root"])
def test_the_debug_file_that_the_binary_names_is_used(library: Path, tmp_path: Path, where: str) -> None:
    root = tmp_path / "root"
    folder = {"beside": tmp_path, "below": tmp_path / ".debug", "under the root": Path(f"{root}{tmp_path}")}[
        where
    ]
    folder.mkdir(parents=True, exist_ok=True)
    debug = folder / "library.debug"
    run("objcopy", "--only-keep-debug", library, debug)
    run("strip", library)
    run("objcopy", "--remove-section=.note.gnu.build-id", f"--add-gnu-debuglink={debug}", library)
    assert pending(find(library, "hidden", root)) == {"hidden"}
    assert not any(row.reason is Reason.NO_SYMBOLS for row in find(library, "*", root))
    debug.write_bytes(debug.read_bytes() + b"\0")
    assert pending(find(library, "hidden", root)) == set(), "its checksum is another"


def mini_debug_info(library: Path, tmp_path: Path, damage: Callable[[bytes], bytes] = bytes) -> None:
    """Strip a library and put the symbols of its functions into it, as distributions do."""
    symbols = tmp_path / "symbols"
    run("objcopy", "--only-keep-debug", "--strip-debug", library, symbols)
    run("strip", library)
    run("xz", "--force", symbols)
    packed = symbols.with_suffix(".xz")
    packed.write_bytes(damage(packed.read_bytes()))
    run("objcopy", f"--add-section=.gnu_debugdata={packed}", library)


def test_symbols_that_are_packed_into_the_binary_are_used(library: Path, tmp_path: Path) -> None:
    mini_debug_info(library, tmp_path)
    assert pending(find(library, "*")) >= {"hidden", "shown", "main"}
    assert not any(row.reason is Reason.NO_SYMBOLS for row in find(library, "*"))


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b[:60] + bytes(8) + b[68:], lambda b: b"no xz"]
)
def test_damaged_packed_symbols_are_none(
    library: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    mini_debug_info(library, tmp_path, damage)
    assert pending(find(library, "*")) == {"shown", "main"}


def test_packed_symbols_do_not_unpack_without_bounds(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini_debug_info(library, tmp_path)
    monkeypatch.setattr(debug_files, "_MAX_UNPACKED", 1000)
    assert pending(find(library, "*")) == {"shown", "main"}
