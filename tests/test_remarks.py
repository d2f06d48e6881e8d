"""What finding says of probes stays with them: as a detail when they fire, as the reason when they do not."""

from __future__ import annotations

import numpy as np

from ebpf_bot_core import CoverageBot, Evidence, Reason, SignalBatch, Verdict

FOUND = (
    ("uprobe:/b:plain", Verdict.PENDING, Reason.NOT_EXAMINED, ""),
    ("uprobe:/b:alias", Verdict.PENDING, Reason.NOT_EXAMINED, "the same code as another"),
    ("uprobe:/b:inlined", Verdict.PENDING, Reason.INLINED, "also inlined once"),
    ("uprobe:/b:import", Verdict.EXCLUDED, Reason.IMPORTED, "elsewhere"),
)


def bot() -> CoverageBot:
    return CoverageBot([(0.0, Evidence.stating(FOUND))])


def attached(bot: CoverageBot, opportunities: int) -> Evidence:
    evidence = Evidence.pending(bot.probes)
    evidence.columns["verdict"][:3] = Verdict.SILENT
    evidence.columns["reason"][:3] = Reason.NONE
    evidence.columns["opportunities"] = opportunities
    return evidence


def said(bot: CoverageBot) -> list[tuple[Verdict, Reason, str]]:
    return [(row.verdict, row.reason, row.detail) for row in bot.evidence]


def test_before_it_is_tried_a_probe_is_not_examined_whatever_its_silence_would_mean() -> None:
    assert said(bot())[2] == (Verdict.PENDING, Reason.NOT_EXAMINED, "also inlined once")
    left_out = bot()
    left_out.leave_out(np.array([2]))
    assert said(left_out)[2][:2] == (Verdict.PENDING, Reason.BUDGET)


def test_a_silence_has_the_reason_that_finding_gave_it_where_there_was_a_chance() -> None:
    silent = bot()
    silent.absorb(attached(silent, opportunities=0))
    assert {reason for _, reason, _ in said(silent)[:3]} == {Reason.NEVER_EXECUTED}
    silent.absorb(attached(silent, opportunities=1))
    assert said(silent) == [
        (Verdict.SILENT, Reason.NOT_CALLED, ""),
        (Verdict.SILENT, Reason.NOT_CALLED, "the same code as another"),
        (Verdict.SILENT, Reason.INLINED, "also inlined once"),
        (Verdict.EXCLUDED, Reason.IMPORTED, "elsewhere"),
    ]


def test_a_backend_that_cannot_count_opportunities_gets_the_same_reason() -> None:
    silent = bot()
    evidence = attached(silent, opportunities=0)
    evidence.columns["reason"][:3] = Reason.NOT_CALLED
    silent.absorb(evidence)
    assert [reason for _, reason, _ in said(silent)[:3]] == [
        Reason.NOT_CALLED,
        Reason.NOT_CALLED,
        Reason.INLINED,
    ]


def test_a_probe_that_was_late_in_a_further_file_says_so_whether_it_fires_or_not() -> None:
    late = bot()
    late.absorb(attached(late, opportunities=1))
    evidence = attached(late, opportunities=1)
    evidence.columns["reason"][0] = Reason.OTHER_FILE
    evidence.details[0] = "late in another file"
    for _ in range(2):
        late.absorb(evidence)
        late.absorb(attached(late, opportunities=1))
        assert said(late)[0] == (Verdict.SILENT, Reason.OTHER_FILE, "late in another file")
    late.observe(SignalBatch.counted(late.probes, np.arange(1), np.ones(1, np.uint64), 5))
    assert said(late)[0] == (Verdict.FIRED, Reason.NONE, "late in another file")


def test_a_probe_that_fires_keeps_its_detail_and_has_no_reason() -> None:
    fired = bot()
    fired.absorb(attached(fired, opportunities=1))
    counts = np.ones(3, np.uint64)
    fired.observe(SignalBatch.counted(fired.probes, np.arange(3), counts, 5))
    fired.absorb(attached(fired, opportunities=2))
    assert [row[:2] for row in said(fired)[:3]] == [(Verdict.FIRED, Reason.NONE)] * 3
    assert [row[2] for row in said(fired)] == [
        "",
        "the same code as another",
        "also inlined once",
        "elsewhere",
    ]


def test_a_refusal_says_why_and_not_what_was_known_before() -> None:
    refused = bot()
    refused.absorb(
        Evidence.stating([("uprobe:/b:alias", Verdict.REFUSED, Reason.ATTACH_FAILED, "no such luck")])
    )
    assert said(refused)[1] == (Verdict.REFUSED, Reason.ATTACH_FAILED, "no such luck")
