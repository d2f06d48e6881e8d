"""The page on verdicts has every verdict and every reason, each with the hint that the code gives."""

from __future__ import annotations

from ebpf_bot_core import Reason, Verdict

PAGE = "reference/verdicts.md"


def test_verdicts_from_the_lowest_rung_up(page):
    assert list(page(PAGE).table("## Verdicts")) == [verdict.label for verdict in Verdict]


def test_reasons_with_their_hints(page):
    documented = {code: cells[-1] for code, cells in page(PAGE).table("## Reasons").items()}
    assert documented == {reason.code: reason.hint for reason in Reason if reason is not Reason.NONE}


def test_reasons_go_with_verdicts_that_exist(page):
    labels = {verdict.label for verdict in Verdict}
    for code, cells in page(PAGE).table("## Reasons").items():
        assert {word.strip("` ") for word in cells[0].split(",")} <= labels, code
