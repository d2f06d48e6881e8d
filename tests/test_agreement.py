"""What `make agreement` makes of the counts of gcov, valgrind and ebpf-bot; that they agree, tests/live holds."""

import re
from pathlib import Path

import pytest

from agreement.__main__ import report_doubts
from agreement.building import VARIANTS, Build
from agreement.calling import read_calls
from agreement.comparing import INLINED, compare
from agreement.covering import Coverage
from agreement.functions import Functions
from agreement.page import renew
from agreement.programs import Program, read_programs
from agreement.tables import parts

BINARY = Path("/built/program")
PROFILE = """\
ob=/lib/libc.so.6
fn=start
cob=/built/program
cfi=???
cfn=main
calls=1 0
0 99
calls=1 0
cfn=exit
calls=1 0

ob=/built/program
fn=main
cfn=f
calls=3 0
cob=/lib/libc.so.6
cfn=puts
calls=5 0
cfn=f
calls=4 10
cfn=f.constprop.0
calls=2 10
"""
SYMBOLS = {"main": ("main",), "f": ("f", "f.constprop.0"), "small": ("small",), "unused": ("unused",)}
FUNCTIONS = Functions(SYMBOLS, frozenset({"small"}))
COUNTS = {"main": 1, "f": 9, "small": 5, "unused": 0}


def seen(**hits):
    return Coverage(hits, {}, 0)


def found(coverage, calls, functions=FUNCTIONS, counts=COUNTS):
    return compare(functions, counts, coverage, {}, calls)


def row(comparison, variant=VARIANTS[1]):
    return Build(
        Program("tool", "tool", "make", "tool", "tool"), "1.0-1", variant, Path("/built")
    ), comparison


def test_calls_are_read_of_one_binary_and_by_symbol():
    assert read_calls(PROFILE.splitlines(keepends=True), BINARY) == {"main": 1, "f": 7, "f.constprop.0": 2}


def test_a_function_that_nothing_called_ran_in_its_inlined_copies():
    result = found(seen(main=1, f=9), {"main": 1, "f": 7, "f.constprop.0": 2})
    assert [(each.function, each.cause) for each in result.sets] == [("small", INLINED)]
    assert (result.called, result.fired, result.witness, result.witnessed) == (2, 2, (), 1.0)
    assert report_doubts([row(result)]) == 0


def test_inlined_copies_are_no_excuse_for_a_call_that_valgrind_has_seen(capsys):
    result = found(seen(main=1, f=9), {"main": 1, "f": 9, "small": 1})
    assert [each.function for each in result.unexplained] == ["small"]
    assert result.witness == ("small",)
    assert result.witnessed == pytest.approx(2 / 3)
    assert report_doubts([row(result)]) == 1
    assert "small" in capsys.readouterr().err


def test_a_hit_of_what_valgrind_has_not_seen_is_a_doubt_as_well(capsys):
    result = found(seen(main=1, f=9, small=5), {"main": 1, "f": 9})
    assert (result.sets, result.witness) == ((), ("small",))
    assert report_doubts([row(result)]) == 1
    assert "small" in capsys.readouterr().err


def test_a_clone_alone_is_its_function():
    result = found(seen(main=1, f=9, small=5), {"main": 1, "f.constprop.0": 9, "small": 5})
    assert (result.sets, result.witness) == ((), ())


def test_every_function_that_disagrees_is_on_the_page():
    inlined = found(seen(main=1, f=9), {"main": 1, "f": 9})
    whole = found(seen(main=1, f=8, small=5), {"main": 1, "f": 9, "small": 5})
    text = parts([row(whole, VARIANTS[0]), row(inlined)])
    assert "| tool | 1.0-1 | 4 | 3 | 3 | 100.00 % | 100.00 % | 66.66 % |" in text["whole"]
    assert "THE CAUSE IS NOT KNOWN. tool: `f` (9 : 8)." in text["whole"]
    assert "| tool | 1.0-1 | 4 | 2 | 2 | 100.00 % | 3 | 66.66 % |" in text["inlined"]
    assert f": {INLINED}. tool: `small` (5 : 0)." in text["inlined"]


def test_the_page_is_renewed_between_its_markers_only():
    page = "a\n<!-- x: begin -->\n\nold\n\n<!-- x: end -->\nb\n"
    renewed = renew(page, {"x": "new \\1\n"})
    assert renewed == "a\n<!-- x: begin -->\n\nnew \\1\n\n<!-- x: end -->\nb\n"
    assert renew(renewed, {"x": "new \\1"}) == renewed
    for wrong in ("no marker", page + page):
        with pytest.raises(ValueError, match="'x'"):
            renew(wrong, {"x": "new"})


def test_the_page_has_a_row_for_each_program_of_the_list_and_way_of_compiling():
    page = (Path(__file__).parents[1] / "docs" / "agreement.md").read_text()
    names = [program.name for program in read_programs([])]
    assert len(names) >= 10
    for variant in VARIANTS:
        (part,) = re.findall(
            rf"<!-- {variant.name}: begin -->(.*?)<!-- {variant.name}: end -->", page, re.DOTALL
        )
        assert re.findall(r"^\| ([a-z0-9]+) \| \d", part, re.MULTILINE) == names
