"""The bot's bookkeeping: what batches and statements make of the map."""

import numpy as np
import pytest

from ebpf_bot_core import CoverageBot, CoverageMap, Evidence, ProbeTable, Reason, SignalBatch, Verdict

NAMES = ("syscall:a", "syscall:b", "syscall:c", "syscall:d")


def bot_of(names=NAMES, priority=1.0) -> CoverageBot:
    return CoverageBot([(priority, Evidence.pending(ProbeTable(names)))])


def counted(bot, rows, counts, time=100) -> SignalBatch:
    return SignalBatch.counted(bot.probes, np.array(rows), np.array(counts), time)


def attached(bot, *rows) -> Evidence:
    return Evidence.stating((bot.probes[row], Verdict.SILENT, Reason.NONE, "") for row in rows)


def rows_of(bot):
    return {row.probe: row for row in bot.evidence}


def test_hits_first_and_last_time():
    bot = bot_of()
    bot.observe(counted(bot, [0, 2], [3, 1], time=100))
    bot.observe(counted(bot, [0], [2], time=250))
    rows = rows_of(bot)
    assert (rows["syscall:a"].hits, rows["syscall:a"].first_fired, rows["syscall:a"].last_fired) == (
        5,
        100,
        250,
    )
    assert rows["syscall:a"].verdict is Verdict.FIRED
    assert rows["syscall:b"].verdict is Verdict.PENDING
    assert rows["syscall:c"].hits == 1


def test_several_signals_of_one_probe_in_one_batch():
    bot = bot_of()
    batch = counted(bot, [1, 1, 1], [1, 1, 1])
    batch.records["time"] = [30, 10, 20]
    bot.observe(batch)
    row = rows_of(bot)["syscall:b"]
    assert (row.hits, row.first_fired, row.last_fired) == (3, 10, 30)


def test_a_count_of_zero_is_not_a_hit():
    bot = bot_of()
    bot.observe(counted(bot, [0, 1], [0, 1]))
    row = rows_of(bot)["syscall:a"]
    assert row.verdict is Verdict.PENDING
    assert (row.hits, row.first_fired, row.last_fired) == (0, None, None)


def test_batches_may_come_out_of_order():
    bot = bot_of()
    for time in (200, 100, 150):
        bot.observe(counted(bot, [0], [1], time=time))
    row = rows_of(bot)["syscall:a"]
    assert (row.hits, row.first_fired, row.last_fired) == (3, 100, 200)


def test_lost_signals_add_up():
    bot = bot_of()
    for lost in (3, 4):
        bot.observe(SignalBatch.empty(bot.probes, lost=lost))
    assert bot.evidence.signals_lost == 7


def test_a_batch_of_another_table_is_refused():
    with pytest.raises(ValueError, match="another table"):
        bot_of().observe(SignalBatch.empty(ProbeTable(NAMES)))


def test_silent_says_whether_the_code_ran():
    bot = bot_of()
    bot.absorb(attached(bot, 0, 1))
    assert rows_of(bot)["syscall:a"].reason is Reason.NEVER_EXECUTED
    ran = attached(bot, 0)
    ran.columns["opportunities"] = 2
    bot.absorb(ran)
    assert rows_of(bot)["syscall:a"].reason is Reason.NOT_CALLED
    assert rows_of(bot)["syscall:b"].reason is Reason.NEVER_EXECUTED


def test_what_fired_stays_fired_whatever_is_stated_later():
    bot = bot_of()
    bot.observe(counted(bot, [0], [1]))
    bot.absorb(Evidence.stating([("syscall:a", Verdict.BLIND, Reason.BINARY_REPLACED, "gone")]))
    row = rows_of(bot)["syscall:a"]
    assert (row.verdict, row.reason, row.detail) == (Verdict.FIRED, Reason.NONE, "")


def test_live_time_is_the_time_attached():
    bot = bot_of()
    rows = np.array([0, 1])
    bot.attach(rows, 1_000)
    bot.age(4_000)
    bot.detach(np.array([0]), 6_000)
    bot.age(10_000)
    live = bot.evidence.columns["live_ns"]
    assert live.tolist() == [5_000, 9_000, 0, 0]
    assert bot.held_ns(np.array([1]), 11_000).tolist() == [10_000]
    assert bot.rounds.tolist() == [1, 1, 0, 0]


def test_changes_are_taken_once():
    bot = bot_of()
    evidence, changes = bot.take_changes()
    assert len(evidence) == len(NAMES), "the first record names every probe"
    assert len(changes) == 0
    bot.absorb(attached(bot, 0))
    bot.observe(counted(bot, [2], [1]))
    evidence, changes = bot.take_changes()
    assert sorted(evidence.probes) == ["syscall:a", "syscall:c"]
    assert sorted(changes) == [
        ("syscall:a", Verdict.PENDING, Verdict.SILENT),
        ("syscall:c", Verdict.PENDING, Verdict.FIRED),
    ]
    evidence, changes = bot.take_changes()
    assert (len(evidence), len(changes)) == (0, 0)


def test_time_alone_is_written_at_the_end():
    bot = bot_of()
    bot.take_changes()
    bot.attach(np.array([0]), 0)
    bot.absorb(attached(bot, 0))
    bot.take_changes()
    bot.age(1_000)
    assert len(bot.take_changes()[0]) == 0
    assert len(bot.take_changes(everything=True)[0]) == 1


def test_the_highest_priority_of_a_probe_counts():
    one, two = (
        Evidence.pending(ProbeTable(("syscall:a", "syscall:b"))),
        Evidence.pending(ProbeTable(("syscall:b",))),
    )
    bot = CoverageBot([(1.0, one), (5.0, two)])
    assert dict(zip(bot.probes, bot.priority.tolist(), strict=True)) == {"syscall:a": 1.0, "syscall:b": 5.0}


def test_ratio_leaves_out_what_cannot_be_probed():
    coverage = CoverageMap(
        Evidence.stating(
            [
                ("syscall:a", Verdict.SILENT, Reason.NOT_CALLED, ""),
                ("syscall:b", Verdict.EXCLUDED, Reason.IMPORTED, ""),
                ("syscall:c", Verdict.MISSING, Reason.NOT_FOUND, ""),
            ]
        )
    )
    assert coverage.ratio == 0.0
    coverage.evidence.columns["verdict"][0] = Verdict.FIRED
    assert coverage.ratio == 0.5
    assert coverage.expected == 3
    assert sum(coverage.totals.values()) == 3
    assert [gap.probe for gap in coverage.gaps()] == ["syscall:c"]


def test_no_ratio_where_nothing_could_fire():
    coverage = CoverageMap(Evidence.stating([("syscall:b", Verdict.EXCLUDED, Reason.IMPORTED, "")]))
    assert coverage.ratio is None


def test_what_is_said_of_the_probe_itself_stays_when_it_fires():
    bot = bot_of()
    bot.absorb(
        Evidence.stating(
            [
                ("syscall:a", Verdict.PENDING, Reason.NOT_EXAMINED, "a resolver"),
                ("syscall:b", Verdict.SILENT, Reason.NONE, "behind its entry"),
                ("syscall:c", Verdict.BLIND, Reason.BINARY_REPLACED, "gone"),
            ]
        )
    )
    bot.absorb(attached(bot, 0, 3))
    assert rows_of(bot)["syscall:a"].detail == "a resolver", "being attached says nothing against it"
    bot.observe(counted(bot, [0, 1, 2, 3], [1, 1, 1, 1]))
    assert [row.detail for row in bot.evidence] == ["a resolver", "behind its entry", "", ""]
    bot.absorb(attached(bot, 0, 1, 2, 3))
    assert [row.detail for row in bot.evidence] == ["a resolver", "behind its entry", "", ""]


def test_what_a_stage_says_of_an_attached_probe_replaces_what_was_said_before():
    bot = bot_of()
    bot.absorb(Evidence.stating([("syscall:a", Verdict.PENDING, Reason.NOT_EXAMINED, "found so")]))
    bot.absorb(Evidence.stating([("syscall:a", Verdict.SILENT, Reason.NONE, "placed so")]))
    assert rows_of(bot)["syscall:a"].detail == "placed so"
