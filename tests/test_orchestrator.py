"""Decisions: within the budget, replayable, fair, and fast."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_bot_core import (
    CoverageBot,
    CoverageOrchestrator,
    Evidence,
    Plugins,
    ProbeTable,
    Reason,
    SignalBatch,
    Verdict,
)
from ebpf_bot_core.policies.priority import PriorityPolicy
from ebpf_bot_core.policies.random import RandomPolicy
from ebpf_bot_core.policies.round_robin import RoundRobinPolicy

SECOND = 1_000_000_000
POLICIES = {"random": RandomPolicy, "priority": PriorityPolicy, "round-robin": RoundRobinPolicy}


def bot_of(count, priorities=None) -> CoverageBot:
    names = [f"uprobe:/bin/x:f{i}" for i in range(count)]
    if priorities is None:
        return CoverageBot([(1.0, Evidence.pending(ProbeTable(tuple(names))))])
    return CoverageBot(
        [(p, Evidence.pending(ProbeTable((n,)))) for p, n in zip(priorities, names, strict=True)]
    )


def carry_out(bot, decision, now):
    bot.detach(decision.detach, now)
    bot.attach(decision.attach, now)
    bot.absorb(
        Evidence.stating(
            (bot.probes[row], Verdict.SILENT, Reason.NONE, "") for row in decision.attach.tolist()
        )
    )


def fire(bot, rows):
    bot.observe(SignalBatch.counted(bot.probes, np.array(rows), np.ones(len(rows), int), 1))


def test_without_a_budget_everything_is_attached_at_once():
    bot = bot_of(10)
    decision = CoverageOrchestrator(RandomPolicy()).decide(bot, step=1, now_ns=0)
    assert sorted(decision.attach.tolist()) == list(range(10))
    assert decision.next_probe in bot.probes
    carry_out(bot, decision, 0)
    again = CoverageOrchestrator(RandomPolicy()).decide(bot, step=2, now_ns=1)
    assert (len(again.attach), len(again.detach)) == (0, 0)


def test_what_has_fired_steps_off_unless_it_is_kept():
    for keep in (False, True):
        bot = bot_of(3)
        orchestrator = CoverageOrchestrator(PriorityPolicy(), keep=keep)
        carry_out(bot, orchestrator.decide(bot, step=1, now_ns=0), 0)
        fire(bot, [1])
        assert orchestrator.decide(bot, step=2, now_ns=1).detach.tolist() == ([] if keep else [1])


def test_nothing_left_is_an_empty_name():
    bot = bot_of(1)
    orchestrator = CoverageOrchestrator(RandomPolicy())
    carry_out(bot, orchestrator.decide(bot, step=1, now_ns=0), 0)
    fire(bot, [0])
    assert orchestrator.decide(bot, step=2, now_ns=1).next_probe == ""


def test_priorities_of_the_plan_come_first():
    bot = bot_of(6, priorities=[1, 5, 1, 9, 1, 5])
    decision = CoverageOrchestrator(PriorityPolicy(), max_attached=3).decide(bot, step=1, now_ns=0)
    assert decision.attach.tolist() == [3, 1, 5]
    assert decision.next_probe == bot.probes[3]
    assert decision.scores.tolist() == sorted(decision.scores.tolist(), reverse=True)


@pytest.mark.parametrize("name", POLICIES)
def test_the_budget_rotates_until_everyone_had_a_turn(name):
    bot = bot_of(10)
    orchestrator = CoverageOrchestrator(POLICIES[name](), max_attached=3, turn_ns=SECOND)
    for step in range(1, 60):
        carry_out(bot, orchestrator.decide(bot, step=step, now_ns=step * SECOND), step * SECOND)
        assert np.count_nonzero(bot.attached) == 3
    assert (bot.rounds > 0).all()


def test_what_the_budget_left_out_is_told():
    bot = bot_of(5)
    orchestrator = CoverageOrchestrator(PriorityPolicy(), max_attached=2, keep=True)
    decision = orchestrator.decide(bot, step=1, now_ns=0)
    assert decision.left_out.tolist() == [2, 3, 4]
    carry_out(bot, decision, 0)
    bot.leave_out(decision.left_out)
    assert [row.reason.code for row in bot.evidence][2:] == ["budget"] * 3


def test_round_robin_gives_nobody_a_second_turn_before_all_had_one():
    bot = bot_of(9)
    orchestrator = CoverageOrchestrator(RoundRobinPolicy(), max_attached=3)
    for step in range(1, 4):
        carry_out(bot, orchestrator.decide(bot, step=step, now_ns=step * 2 * SECOND), step * 2 * SECOND)
    assert bot.rounds.tolist() == [1] * 9


def test_a_place_is_kept_for_a_turn():
    bot = bot_of(10)
    orchestrator = CoverageOrchestrator(RandomPolicy(), max_attached=3, turn_ns=SECOND)
    carry_out(bot, orchestrator.decide(bot, step=1, now_ns=0), 0)
    early = orchestrator.decide(bot, step=2, now_ns=SECOND // 2)
    assert (len(early.attach), len(early.detach)) == (0, 0)


def test_keeping_never_exchanges():
    bot = bot_of(10)
    orchestrator = CoverageOrchestrator(RandomPolicy(), max_attached=3, keep=True)
    carry_out(bot, orchestrator.decide(bot, step=1, now_ns=0), 0)
    fire(bot, np.flatnonzero(bot.attached).tolist())
    later = orchestrator.decide(bot, step=2, now_ns=100 * SECOND)
    assert (len(later.attach), len(later.detach)) == (0, 0)


@given(
    count=st.integers(1, 40),
    budget=st.integers(1, 50),
    seed=st.integers(0, 2**32),
    name=st.sampled_from(sorted(POLICIES)),
    fired=st.sets(st.integers(0, 39)),
)
def test_any_run_of_decisions_keeps_the_budget_and_replays(count, budget, seed, name, fired):
    def play():
        bot = bot_of(count)
        orchestrator = CoverageOrchestrator(POLICIES[name](), max_attached=budget, seed=seed)
        decisions = []
        for step in range(1, 6):
            now = step * SECOND
            decision = orchestrator.decide(bot, step=step, now_ns=now)
            assert not set(decision.attach.tolist()) & set(decision.detach.tolist())
            assert not bot.attached[decision.attach].any(), "attached what is attached"
            assert bot.attached[decision.detach].all(), "detached what is not"
            carry_out(bot, decision, now)
            assert np.count_nonzero(bot.attached) <= budget
            fire(bot, [row for row in fired if row < count and bot.attached[row]])
            decisions.append((decision.attach.tolist(), decision.detach.tolist(), decision.next_probe))
        return decisions

    assert play() == play()


def test_a_policy_that_scores_wrongly_is_named():
    class Wrong:
        def score(self, candidates, rng):
            return rng.random(3)

    with pytest.raises(ValueError, match=r"Wrong gave scores of shape \(3,\) for 5"):
        CoverageOrchestrator(Wrong()).decide(bot_of(5), step=1, now_ns=0)


def test_a_decision_over_100_000_probes_is_quick():
    bot = bot_of(100_000)
    for name in POLICIES:
        policy = Plugins(entries=[]).get("policy", name).build({})
        orchestrator = CoverageOrchestrator(policy, max_attached=4096)
        best = min(_timed(lambda step, o=orchestrator: o.decide(bot, step=step, now_ns=0)) for _ in range(5))
        assert best < 0.1, "a wide margin over the documented 10 ms: benchmarks/decision.py measures"


def _timed(work):
    began = time.perf_counter()
    work(1)
    return time.perf_counter() - began
