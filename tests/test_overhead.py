"""What probes cost: rates from cumulative costs, a bound that is kept, and rounds that pay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpf_bot_core import (
    CoverageBot,
    CoverageOrchestrator,
    Evidence,
    ProbeTable,
    Reason,
    SignalBatch,
    Verdict,
)
from ebpf_bot_core.ledger import Ledger
from ebpf_bot_core.policies.priority import PriorityPolicy
from ebpf_bot_core.stepping_off import SteppingOff

STEP = 50_000_000


def test_a_rate_is_the_share_of_a_cpu_and_fades():
    ledger = Ledger(2)
    assert ledger.ratio is None
    for tick in range(200):
        ledger.note(np.array([0.25 * tick * 0.05, np.nan]), tick * STEP)
    assert ledger.rates == pytest.approx([0.25, 0], rel=1e-3)
    assert ledger.ratio == pytest.approx(0.25, rel=1e-3)
    ledger.note(ledger.spent, 210 * STEP + 9 * 1_000_000_000)
    assert ledger.ratio < 0.001


def test_the_first_round_comes_at_once_and_the_next_when_it_pays():
    ledger, stepping = Ledger(2), SteppingOff()
    nothing, first = np.zeros(0, np.intp), np.array([0])
    ledger.note(np.zeros(2), 0)
    assert not stepping.is_due(nothing, ledger, 0)
    ledger.note(np.array([1e-6, 0]), 1)
    assert stepping.is_due(first, ledger, 1)
    stepping.took(0.005)
    ledger.note(np.array([2e-6, 1e-6]), 2)
    assert not stepping.is_due(np.array([1]), ledger, 2)
    ledger.note(np.array([2e-6, 0.02]), 3)
    assert stepping.is_due(np.array([1]), ledger, 3)


def test_what_is_cheap_goes_after_a_second():
    ledger, stepping = Ledger(1), SteppingOff()
    stepping.took(1.0)
    ledger.note(np.zeros(1), 0)
    assert not stepping.is_due(np.array([0]), ledger, 1)
    assert stepping.is_due(np.array([0]), ledger, 1_000_000_001)


class World:
    """Probes that each cost a fixed share of a CPU while attached; half of them fire."""

    def __init__(self, costs, *, keep, limit, max_attached=None, seed=0):
        names = tuple(f"uprobe:/bin/x:f{i}" for i in range(len(costs)))
        self.bot = CoverageBot([(1.0, Evidence.pending(ProbeTable(names)))])
        self.costs = np.array(costs)
        self.spent = np.zeros(len(costs))
        self.orchestrator = CoverageOrchestrator(
            PriorityPolicy(), keep=keep, max_overhead=limit, max_attached=max_attached, seed=seed
        )

    def step(self, number):
        now, bot = number * STEP, self.bot
        decision = self.orchestrator.decide(bot, step=number, now_ns=now)
        bot.detach(decision.detach, now)
        bot.attach(decision.attach, now)
        fresh = decision.attach[~bot.evidence.fired[decision.attach]]
        bot.absorb(
            Evidence.stating((bot.probes[row], Verdict.SILENT, Reason.NONE, "") for row in fresh.tolist())
        )
        bot.price_out(decision.priced_out, decision.rates, self.orchestrator.max_overhead)
        self.spent[bot.attached] += self.costs[bot.attached] * STEP / 1e9
        firing = np.flatnonzero(bot.attached & (np.arange(len(self.costs)) % 2 == 0))
        bot.observe(SignalBatch.counted(bot.probes, firing, np.ones(len(firing), int), 1))
        bot.account(self.spent, now + STEP)
        return decision


costs = st.lists(st.sampled_from([0.0, 0.0001, 0.004, 0.02, 0.3, 0.9]), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(costs=costs, keep=st.booleans(), limit=st.sampled_from([0.001, 0.01, 0.2]))
def test_the_bound_is_exceeded_by_no_more_than_one_step(costs, keep, limit):
    world = World(costs, keep=keep, limit=limit)
    for number in range(1, 80):
        over = world.bot.ledger.rates[world.bot.attached].sum() > limit
        decision = world.step(number)
        if over:
            assert len(decision.priced_out)
            assert not np.isin(decision.priced_out, decision.attach).any()
        sure = np.sum(world.costs) * (1 - np.exp(-STEP / 1e9))
        assert world.bot.ledger.rates[world.bot.attached].sum() <= limit + sure + 1e-9


@settings(max_examples=20, deadline=None)
@given(costs=costs, keep=st.booleans())
def test_decisions_are_the_same_again(costs, keep):
    one, two = (World(costs, keep=keep, limit=0.01) for _ in range(2))
    for number in range(1, 30):
        a, b = one.step(number), two.step(number)
        assert (a.attach.tolist(), a.detach.tolist(), a.priced_out.tolist(), a.reason) == (
            b.attach.tolist(),
            b.detach.tolist(),
            b.priced_out.tolist(),
            b.reason,
        )


def test_it_converges_on_the_cheap_ones_and_tries_the_costly_ever_less():
    world = World([0.9, 0.0001, 0.0001, 0.0001], keep=True, limit=0.01)
    taken_off = [number for number in range(1, 2000) if 0 in world.step(number).priced_out]
    assert world.bot.attached[1:].all()
    assert 2 <= len(taken_off) <= 8
    assert np.diff(taken_off).tolist() == sorted(np.diff(taken_off).tolist())
    assert world.bot.evidence.columns["reason"].tolist()[0] == Reason.BUDGET
    assert "taken off" in world.bot.evidence.details[0]


def test_the_costliest_proven_goes_before_a_costlier_unproven_one():
    world = World([0.008, 0.009], keep=True, limit=0.01)
    gone = []
    for number in range(1, 100):
        gone += world.step(number).priced_out.tolist()
        if gone:
            break
    assert gone == [0]


def test_an_unproven_one_that_costs_too_much_says_budget():
    world = World([0.0, 0.5], keep=False, limit=0.01)
    for number in range(1, 10):
        decision = world.step(number)
    assert list(world.bot.evidence)[1].reason is Reason.BUDGET
    assert decision.next_probe == world.bot.probes[1]
