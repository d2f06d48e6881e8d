"""Decides which probes to attach and which to take off next, within the budget."""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.coverage import CoverageBot
from ebpf_bot_core.policy import Candidates, Policy
from ebpf_bot_core.probe import ProbeTable
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
        detach: rows to take off: what has fired, and what must make room.
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


class CoverageOrchestrator:
    """Asks a policy for scores, and fills the budget with the best.

    Args:
        strategy: the policy's name.
        max_attached: how many probes may be attached at once; None for no bound.
        keep: leave probes attached that have fired, and never exchange one for another.
        seed: for policies that draw.
        turn_ns: how long a probe keeps its place before another may take it.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        strategy: str = "",
        max_attached: int | None = None,
        keep: bool = False,
        seed: int = 0,
        turn_ns: int = 1_000_000_000,
    ) -> None:
        self.policy = policy
        self.strategy = strategy or type(policy).__name__
        self.max_attached = max_attached
        self.keep = keep
        self.seed = seed
        self.turn_ns = turn_ns

    def decide(self, bot: CoverageBot, *, step: int, now_ns: int) -> Decision:
        """Return the next decision. 100,000 probes take a few milliseconds.

        Args:
            now_ns: the clock that the bot's times are of.
        """
        columns = bot.evidence.columns
        verdict = columns["verdict"]
        rows = np.flatnonzero((verdict == Verdict.PENDING) | (verdict == Verdict.SILENT))
        candidates = Candidates(bot.probes, rows, step, bot.attached[rows], bot)
        scores = self._scores(candidates)
        proven = _NOTHING if self.keep else np.flatnonzero(bot.attached & (verdict >= Verdict.BLIND))
        attach, detach, reason = self._fill(candidates, scores, bot, now_ns)
        waiting = verdict[rows] == Verdict.PENDING
        waiting[attach] = False
        best = int(rows[np.argmax(scores)]) if len(rows) else -1
        return Decision(
            probes=bot.probes,
            step=step,
            strategy=self.strategy,
            seed=self.seed,
            attach=rows[attach],
            detach=np.concatenate([proven, rows[detach]]),
            left_out=rows[waiting],
            scores=scores[attach],
            next_probe=bot.probes[best] if best >= 0 else "",
            reason=reason if not len(proven) else f"{reason}; {len(proven)} have proven themselves",
        )

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
