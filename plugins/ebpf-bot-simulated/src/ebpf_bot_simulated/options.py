"""Options: what a plan can say about the simulated host, all of it checked when the plan is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from ebpf_bot_core import PlanError
from ebpf_bot_simulated.faults import BLIND, FAULTS

__all__ = ["CALLS", "SimulatedOptions"]

CALLS: Final = ("find", "open", "attach", "detach", "inspect", "receive")
"""The calls that the option `fail_at` can make fail."""

_MAX_RATE: Final = 1e12
_MAX_FUNCTIONS: Final = 10_000_000

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _values_among(known: Iterable[str]) -> Validator:
    def check(_: object, attribute: attrs.Attribute[Any], table: Mapping[str, str]) -> None:
        for pattern, word in table.items():
            if word not in known:
                raise PlanError(
                    f"{attribute.name}: unknown reason {word[:80]!r} for {pattern[:80]!r}",
                    hint="known here: " + ", ".join(known),
                )

    return check


def _calls(_: object, __: object, table: Mapping[str, int]) -> None:
    for call, number in table.items():
        if call not in CALLS:
            raise PlanError(f"fail_at: unknown call {call[:80]!r}", hint="known calls: " + ", ".join(CALLS))
        if number < 1:
            raise PlanError(f"fail_at: {call} = {number}", hint="calls are counted from 1")


def _between(low: float, high: float) -> Validator:
    def check(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not low <= value <= high:
            bounds = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise PlanError(f"{attribute.name} must be {bounds}, not {value:g}")

    return check


def _rates(_: object, __: object, table: Mapping[str, float]) -> None:
    for pattern, rate in table.items():
        if not 0 <= rate <= _MAX_RATE:
            raise PlanError(f"rates: {pattern[:80]!r} must be from 0 to {_MAX_RATE:g}, not {rate:g}")


def _binaries(_: object, __: object, table: Mapping[str, int]) -> None:
    for path, functions in table.items():
        if not path.startswith("/"):
            raise PlanError(f"binaries: {path[:80]!r} is not an absolute path")
        if not 0 <= functions <= _MAX_FUNCTIONS:
            raise PlanError(f"binaries: {path[:80]!r} must have from 0 to {_MAX_FUNCTIONS} functions")


@attrs.frozen
class SimulatedOptions:
    """The simulated host. Time moves in ticks: each call of `receive` is one.

    Keys of `rates`, `faults` and `blind` are probe names or wildcards that match whole names, such as
    `uprobe:*:lock_*`; an exact name beats a wildcard, and among wildcards the first that matches counts.

    Attributes:
        seed: everything that is drawn follows from it: same options, same calls, same signals.
        rates: hits a tick, on average; a whole number is exact, 0 is never. The others get a rate from the seed.
        faults: the reason code of what is wrong with a probe, such as `unsupported-instruction`; it shows when such
            a thing shows on a real host: in finding, in attaching, or by silence.
        blind: probes that attach well and then cannot fire, with the reason that comes to light later:
            `unsupported-instruction` or `binary-replaced`.
        blind_after: how many ticks pass before those of `blind` go blind.
        lose: the share of hits that are lost and only counted as such, from 0 to 1.
        attach_limit: how many probes can be attached at once; None for any number.
        fail_at: calls that fail as a whole with a `BackendError`, as `{ receive = 3 }` for the third.
        binaries: more simulated programs and libraries: absolute path to number of functions, which are named
            `function_0` and so on.
        hit_cost: the CPU seconds that each hit costs, counted or lost; None: what probes cost is not known.
        wait: whether `receive` takes the time it is given, as on a real host. False: it returns at once.
        start_time: ns since the Unix epoch at which simulated time begins, for signals that are the same to the
            byte; a tick is then 100 ms. 0: signals bear the time of the real clock.
    """

    seed: int = attrs.field(default=0, validator=_between(0, math.inf))
    rates: Mapping[str, float] = attrs.field(factory=dict, validator=_rates)
    faults: Mapping[str, str] = attrs.field(factory=dict, validator=_values_among(FAULTS))
    blind: Mapping[str, str] = attrs.field(factory=dict, validator=_values_among(BLIND))
    blind_after: int = attrs.field(default=0, validator=_between(0, math.inf))
    lose: float = attrs.field(default=0.0, validator=_between(0, 1))
    attach_limit: int | None = attrs.field(default=None, validator=_between(0, math.inf))
    fail_at: Mapping[str, int] = attrs.field(factory=dict, validator=_calls)
    binaries: Mapping[str, int] = attrs.field(factory=dict, validator=_binaries)
    hit_cost: float | None = attrs.field(default=None, validator=_between(0, 1))
    wait: bool = True
    start_time: int = attrs.field(default=0, validator=_between(0, 2**62))
