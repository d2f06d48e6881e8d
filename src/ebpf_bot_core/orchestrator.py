"""Decides which probes to attach and which to take off next, within the budget."""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.coverage import CoverageBot
from ebpf_bot_core.ledger import Ledger
from ebpf_bot_core.overhead import OverheadLimit
from ebpf_bot_core.policy import Candidates, Policy
from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.stepping_off import SteppingOff
from ebpf_bot_core.verdicts import Verdict

__all__ = ["CoverageOrchestrator", "Decision"]

_NOTHING: Final = np.zeros(0, np.intp)


@attrs.frozen(eq=False)
class Decision:
    """What to do next, and why.

    Attributes:
        step: the number of the step it was made in, from 1.
        strategy: the name of the policy that scored.
        seed: with `step`, all the chance that went into it: the same state, seed and step give the same decision.
        attach: rows to attach; where the budget cut, the best first.
        detach: rows to take off: what has fired, what must make room, and what costs too much.
        priced_out: those of `detach` that cost too much, the first to go first.
        rates: shape (len(priced_out),), the share of one CPU that each of them cost.
        left_out: rows that have never been attached, and are not now, because the budget does not reach for them.
        scores: shape (len(attach),), what the policy gave the rows of `attach`.
        next_probe: the gap to close next, the best candidate of all, attached or not; empty if none is left.
        reason: one sentence.
    """

    probes: ProbeTable
    step: int
    strategy: str
    seed: int
    attach: NDArray[np.intp]
    detach: NDArray[np.intp]
    left_out: NDArray[np.intp]
    scores: NDArray[np.float64]
    next_probe: str
    reason: str
    priced_out: NDArray[np.intp] = _NOTHING
    rates: NDArray[np.float64] = attrs.field(factory=lambda: np.zeros(0))


class CoverageOrchestrator:
    """Asks a policy for scores, and fills the budget with the best.

    Args:
        strategy: the policy's name.
        max_attached: how many probes may be attached at once; None for no bound.
        max_overhead: the share of one CPU that the attached probes may cost their targets; None for no bound.
        keep: leave probes attached that have fired, and never exchange one for another, unless they cost too much.
        seed: for policies that draw.
        turn_ns: how long a probe keeps its place before another may take it.

    Attributes:
        stepping_off: decides when to take off those that have fired.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        strategy: str = "",
        max_attached: int | None = None,
        max_overhead: float | None = None,
        keep: bool = False,
        seed: int = 0,
        turn_ns: int = 1_000_000_000,
    ) -> None:
        self.policy = policy
        self.strategy = strategy or type(policy).__name__
        self.max_attached = max_attached
        self.max_overhead = max_overhead
        self.keep = keep
        self.seed = seed
        self.turn_ns = turn_ns
        self.stepping_off = SteppingOff()
        self._limit = None if max_overhead is None else OverheadLimit(max_overhead, turn_ns)

    def decide(self, bot: CoverageBot, *, step: int, now_ns: int) -> Decision:
        """Return the next decision. 100,000 probes take a few milliseconds.

        Args:
            now_ns: the clock that the bot's times are of.
        """
        verdict = bot.evidence.columns["verdict"]
        proven = bot.attached & (verdict >= Verdict.BLIND)
        priced_out, back = self._price(bot, proven, now_ns)
        possible = (verdict == Verdict.PENDING) | (verdict == Verdict.SILENT)
        if self._limit is not None:
            possible &= ~self._limit.out(len(possible))
        rows = np.flatnonzero(possible)
        candidates = Candidates(bot.probes, rows, step, bot.attached[rows], bot)
        scores = self._scores(candidates)
        attach, detach, reason = self._fill(candidates, scores, bot, now_ns)
        done = self._step_off(proven, bot.ledger, now_ns, at_once=bool(len(attach) or len(priced_out)))
        done = np.setdiff1d(done, priced_out)
        waiting = verdict[rows] == Verdict.PENDING
        waiting[attach] = False
        best = int(rows[np.argmax(scores)]) if len(rows) else -1
        return Decision(
            probes=bot.probes,
            step=step,
            strategy=self.strategy,
            seed=self.seed,
            attach=np.concatenate([rows[attach], back]),
            detach=np.concatenate([done, rows[detach], priced_out]),
            left_out=rows[waiting],
            scores=np.concatenate([scores[attach], np.zeros(len(back))]),
            next_probe=bot.probes[best] if best >= 0 else self._waiting(bot),
            reason="; ".join([reason, *_going(len(done), len(priced_out), len(back))]),
            priced_out=priced_out,
            rates=bot.ledger.rates[priced_out],
        )

    def _price(
        self, bot: CoverageBot, proven: NDArray[np.bool_], now_ns: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows that must go for what they cost, and of those that have fired the ones that come back."""
        if self._limit is None:
            return _NOTHING, _NOTHING
        rates = bot.ledger.rates
        going = self._limit.take_off(rates, bot.attached, proven, now_ns)
        if len(going):
            return going, _NOTHING
        back = self._limit.let_back(rates, bot.attached, now_ns)
        # The others among them are candidates again, or have proven themselves and are done.
        fired = back[bot.evidence.fired[back]] if self.keep else _NOTHING
        if self.max_attached is not None and len(fired) > (free := self._free(bot)):
            self._limit.out(len(proven))[fired[free:]] = True
            fired = fired[:free]
        return _NOTHING, fired

    def _free(self, bot: CoverageBot) -> int:
        """Return how many places are left over when every candidate has one."""
        taken = bot.attached | (bot.evidence.columns["verdict"] == Verdict.PENDING)
        return max(0, (self.max_attached or 0) - int(taken.sum()))

    def _step_off(
        self, proven: NDArray[np.bool_], ledger: Ledger, now_ns: int, *, at_once: bool
    ) -> NDArray[np.intp]:
        """Return the rows that have proven themselves, where it pays to take them off in this step."""
        if self.keep:
            return _NOTHING
        done = np.flatnonzero(proven)
        due = self.stepping_off.is_due(done, ledger, now_ns)
        return done if due or at_once else _NOTHING

    def _waiting(self, bot: CoverageBot) -> str:
        """Return a probe that has not fired and is out for what it costs; empty if there is none."""
        if self._limit is None:
            return ""
        gaps = np.flatnonzero(self._limit.out(len(bot.probes)) & ~bot.evidence.fired)
        return bot.probes[int(gaps[0])] if len(gaps) else ""

    def _scores(self, candidates: Candidates) -> NDArray[np.float64]:
        if not len(candidates):
            return np.zeros(0)
        scores = self.policy.score(candidates, np.random.default_rng([self.seed, candidates.step]))
        if scores.shape != (len(candidates),):
            raise ValueError(
                f"policy {self.strategy} gave scores of shape {scores.shape} for {len(candidates)} candidates"
            )
        return scores

    def _fill(
        self, candidates: Candidates, scores: NDArray[np.float64], bot: CoverageBot, now_ns: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], str]:
        """Return positions among the candidates to attach and to take off."""
        attached = candidates.attached
        idle = np.flatnonzero(~attached)
        if not len(idle):
            return _NOTHING, _NOTHING, "every probe that can be tried is attached"
        places = len(candidates) if self.max_attached is None else self.max_attached
        if self.keep:
            places -= int(np.count_nonzero(bot.attached & bot.evidence.fired))
        if len(candidates) <= places:
            return idle, _NOTHING, f"all {len(candidates)} candidates fit the budget"
        held = attached if self.keep else self._in_their_turn(candidates, bot, now_ns)
        free = places - int(np.count_nonzero(held))
        if free <= 0:
            return _NOTHING, _NOTHING, f"the {places} places of the budget are taken"
        contenders = np.flatnonzero(~held)
        chosen = contenders[_best(scores[contenders], free)]
        attach = chosen[~attached[chosen]]
        ousted = attached & ~held
        ousted[chosen] = False
        detach = np.flatnonzero(ousted)
        return (
            attach,
            detach,
            f"the best {len(chosen)} of {len(contenders)} candidates fit the budget of {places}",
        )

    def _in_their_turn(self, candidates: Candidates, bot: CoverageBot, now_ns: int) -> NDArray[np.bool_]:
        """Return where a candidate is attached and its turn is not over."""
        held = candidates.attached.copy()
        on = np.flatnonzero(held)
        held[on] = bot.held_ns(candidates.rows[on], now_ns) < self.turn_ns
        return held


def _going(done: int, priced_out: int, back: int) -> list[str]:
    """Return what else is to be said of a decision."""
    said = []
    if done:
        said.append(f"{done} have proven themselves")
    if priced_out:
        said.append(f"{priced_out} cost too much")
    if back:
        said.append(f"{back} come back, since there is room")
    return said


def _best(scores: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the positions of the `count` highest scores, the highest first; equal ones keep their order."""
    if count < len(scores):
        # Partition first: sorting all of 100,000 would cost more than everything else in a decision.
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        above = np.flatnonzero(scores > threshold)
        level = np.flatnonzero(scores == threshold)[: count - len(above)]
        keep = np.sort(np.concatenate([above, level]))
    else:
        keep = np.arange(len(scores))
    ranked: NDArray[np.intp] = keep[np.argsort(-scores[keep], kind="stable")]
    return ranked
