"""What is found of functions that GCC inlined, copied, split or chose at run time, and of names that share their code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ebpf_bot_linux.finding.copies import Make, made_of
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.points import FunctionPoint

from ebpf_bot_core import ProbeEvidence, ProbePattern, Reason, Verdict

Build = Callable[..., Path]
NOWHERE = Path("/nonexistent")


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def only(path: Path, name: str, finder: Finder | None = None) -> ProbeEvidence:
    (row,) = (finder or Finder(debug_root=NOWHERE)).find([ProbePattern.parse(f"uprobe:{path}:{name}")])
    return row


def places(path: Path, name: str) -> set[int]:
    (point,) = Finder(debug_root=NOWHERE).points([f"uprobe:{path}:{name}"])
    assert isinstance(point, FunctionPoint)
    return set(point.offsets)


@pytest.mark.parametrize(
    ("name", "origin", "make"),
    [
        ("f.constprop.0", "f", Make.COPY),
        ("f.isra.12", "f", Make.COPY),
        ("f.lto_priv.3", "f", Make.COPY),
        ("f.llvm.9184720349", "f", Make.COPY),
        ("f.localalias", "f", Make.COPY),
        ("f.part.0", "f", Make.PART),
        ("f.isra.0.part.2.constprop.1", "f", Make.PART),
        ("f.cold", "f", Make.COLD),
        ("f.cold.7", "f", Make.COLD),
        ("f.constprop.0.isra.0.cold", "f", Make.COLD),
        ("f.part.0.cold.lto_priv.1", "f", Make.COLD),
        ("_ZN1a1bEv.constprop.0", "_ZN1a1bEv", Make.COPY),
        ("main.worker.part.0", "main.worker", Make.PART),
    ],
)
def test_names_that_compilers_give(name: str, origin: str, make: Make) -> None:
    assert made_of(name) == (origin, make)


@pytest.mark.parametrize(
    "name",
    [
        "f",
        "f.0",
        "main.part",
        "main.isra",
        "f.part.x",
        "f.cold.more",
        ".cold",
        "f.constprop.0.g",
        "f.",
        "f..part.0.",
    ],
)
def test_names_that_sources_give(name: str) -> None:
    assert made_of(name) is None


def test_blocks_that_were_moved_away_are_excluded_and_their_function_is_not(made: Path) -> None:
    cold = only(made, "with_cold.cold")
    assert (cold.verdict, cold.reason) == (Verdict.EXCLUDED, Reason.SPLIT_PART)
    assert only(made, "with_cold").verdict is Verdict.PENDING
    assert not places(made, "with_cold") & set(code_offsets(made, "with_cold.cold"))
    with pytest.raises(AssertionError):
        places(made, "with_cold.cold")


def code_offsets(path: Path, name: str) -> list[int]:
    """Return the file offsets of a symbol by nm; `.text` of these programs is mapped where it is in the file."""
    return [int(line.split()[0], 16) for line in run("nm", path).splitlines() if line.split()[-1] == name]


def test_a_function_called_cold_without_a_whole_beside_it_is_a_function(build: Build) -> None:
    source = '.text\n.globl "main.cold"\n.type "main.cold", @function\n"main.cold": ret\n'
    path = build(source, "-shared", "-nostdlib", language="s")
    assert only(path, "main.cold").verdict is Verdict.PENDING


def test_a_function_of_which_there_are_only_copies_is_probed_there(made: Path) -> None:
    row = only(made, "only_copy")
    assert (row.probe, row.verdict) == (f"uprobe:{made}:only_copy", Verdict.PENDING)
    assert "only_copy.constprop.0" in row.detail
    assert places(made, "only_copy") == set(code_offsets(made, "only_copy.constprop.0"))


def test_a_call_of_a_copy_is_a_call_of_the_function(made: Path) -> None:
    assert "whole_and_copy.constprop.0 counts as well" in only(made, "whole_and_copy").detail
    assert places(made, "whole_and_copy") == {
        *code_offsets(made, "whole_and_copy"),
        *code_offsets(made, "whole_and_copy.constprop.0"),
    }
    copy = only(made, "whole_and_copy.constprop.0")
    assert (copy.verdict, "a copy of whole_and_copy" in copy.detail) == (Verdict.PENDING, True)
    assert places(made, "whole_and_copy.constprop.0") == set(code_offsets(made, "whole_and_copy.constprop.0"))


def test_a_part_stands_for_a_function_that_has_nothing_else(made: Path) -> None:
    row = only(made, "only_part")
    assert (row.verdict, row.reason) == (Verdict.PENDING, Reason.INLINED)
    assert "only_part.part.0" in row.detail
    assert places(made, "only_part") == set(code_offsets(made, "only_part.part.0"))


def test_the_silence_of_a_function_with_a_part_proves_nothing(made: Path) -> None:
    row = only(made, "whole_and_part")
    assert (row.verdict, row.reason) == (Verdict.PENDING, Reason.INLINED)
    assert places(made, "whole_and_part") == set(code_offsets(made, "whole_and_part"))


def test_a_pattern_for_all_names_what_is_there_and_says_the_same_of_it(made: Path) -> None:
    rows = {
        row.probe.rpartition(":")[2]: row for row in Finder().find([ProbePattern.parse(f"uprobe:{made}:*")])
    }
    assert not rows.keys() & {"only_copy", "only_part", "everywhere"}
    assert rows["whole_and_copy"].detail == only(made, "whole_and_copy").detail
    assert rows["with_cold.cold"].reason is Reason.SPLIT_PART
    assert rows["chosen"].reason is Reason.INDIRECT_FUNCTION
    assert rows["also_inlined"].detail == "", "debug information is read for names, not for patterns"


def test_what_is_asked_for_twice_keeps_what_the_longer_look_showed(made: Path) -> None:
    texts = [f"uprobe:{made}:also_inlined", f"uprobe:{made}:also*"]
    for order in (texts, texts[::-1]):
        (row,) = Finder().find([ProbePattern.parse(text) for text in order])
        assert (row.reason, "inlined once" in row.detail) == (Reason.INLINED, True)


def test_an_indirect_function_is_blind_unless_its_versions_are_known(made: Path) -> None:
    chosen = only(made, "chosen")
    assert (chosen.verdict, chosen.reason) == (Verdict.BLIND, Reason.INDIRECT_FUNCTION)
    versions = only(made, "versions")
    assert versions.verdict is Verdict.PENDING
    assert "versions.avx2 and versions.default" in versions.detail
    assert places(made, "versions") == {
        *code_offsets(made, "versions.avx2"),
        *code_offsets(made, "versions.default"),
    }


def test_names_of_one_place_say_so(made: Path) -> None:
    assert "same and with_cold are the same code" in only(made, "same").detail
    assert "same and with_cold are the same code" in only(made, "with_cold").detail


def test_an_alias_of_a_function_has_its_copies_and_its_doubts(build: Build) -> None:
    function = ".type {0}, @function\n.globl {0}\n{0}:"
    lines = [".text", *map(function.format, ("f", "alias")), "ret", function.format("f.part.0"), "ret"]
    path = build("\n".join([*lines, ""]), "-shared", "-nostdlib", language="s")
    assert only(path, "f").reason is only(path, "alias").reason is Reason.INLINED
    lines[-2] = function.format("f.constprop.0")
    path = build("\n".join([*lines, ""]), "-shared", "-nostdlib", language="s")
    assert len(places(path, "f")) == 2
    assert places(path, "alias") == places(path, "f")


def test_functions_that_were_folded_into_one_say_so(build: Build) -> None:
    if shutil.which("ld.gold") is None:
        pytest.skip("no linker here that folds identical code")
    source = """
    __attribute__((noinline)) int one(int x) { return x * 7 + 1; }
    __attribute__((noinline)) int two(int x) { return x * 7 + 1; }
    int main(int argc, char **argv) { return one(argc) - two(argc); }
    """
    flags = ("-ffunction-sections", "-fno-ipa-icf", "-fuse-ld=gold", "-Wl,--icf=all")
    path = build(source, *flags)
    assert places(path, "one") == places(path, "two")
    for name in ("one", "two"):
        assert "one and two are the same code: they fire together" in only(path, name).detail


COMPILED = {
    "gcc": (),
    "link-time": ("-flto",),
    "dwarf 2": ("-gdwarf-2",),
    "dwarf 4": ("-gdwarf-4",),
    "64-bit dwarf": ("-gdwarf64",),
    "compressed": ("-gz=zlib",),
    "lines only": ("-g1",),
}


@pytest.mark.parametrize("how", COMPILED)
def test_inlined_functions_are_found_in_the_debug_information(build_made: Build, how: str) -> None:
    path = build_made(*COMPILED[how])
    once, twice = only(path, "everywhere"), only(path, "twice_over")
    assert [(row.verdict, row.reason) for row in (once, twice)] == [(Verdict.MISSING, Reason.INLINED)] * 2
    assert once.detail == "it is nowhere but inlined once, in main"
    assert twice.detail == "it is nowhere but inlined at 2 places, in main"
    if how != "link-time":  # where all callers are known no code of its own is left
        row = only(path, "also_inlined")
        assert (row.verdict, row.reason) == (Verdict.PENDING, Reason.INLINED)
        assert row.detail == "also inlined once, in main: those runs are not seen"
        assert only(path, "not_called").reason is Reason.NOT_EXAMINED


def test_cplusplus_is_known_by_its_linkage_names(build: Build) -> None:
    source = """
    volatile int sink;
    namespace shop { struct Basket { int total(int x) const { return x * sink; } }; }
    int main(int argc, char **argv) { shop::Basket b; return b.total(argc); }
    """
    path = build(source, "-O2", "-g", "-lstdc++", language="cc")
    row = only(path, "_ZNK4shop6Basket5totalEi")
    assert (row.verdict, row.reason) == (Verdict.MISSING, Reason.INLINED)
    assert "once, in main" in row.detail


def test_without_debug_information_a_name_that_is_nowhere_may_have_been_inlined(build_made: Build) -> None:
    path = build_made("-g0")
    row = only(path, "everywhere")
    assert (row.verdict, row.reason) == (Verdict.MISSING, Reason.NOT_FOUND)
    assert "may have been inlined" in row.detail
    assert only(path, "printf").reason is Reason.IMPORTED


def test_debug_information_in_a_file_of_its_own_is_read_too(made: Path, tmp_path: Path) -> None:
    debug = tmp_path / "target.debug"
    run("objcopy", "--only-keep-debug", made, debug)
    run("objcopy", "--strip-debug", f"--add-gnu-debuglink={debug}", made)
    assert only(made, "everywhere").reason is Reason.INLINED
    debug.unlink()
    assert only(made, "everywhere").reason is Reason.NOT_FOUND
