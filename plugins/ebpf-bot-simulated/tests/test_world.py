"""What happens on the simulated host: the same for the same seed, and as often as it is said to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import attrs
import numpy as np
import pytest
from ebpf_bot_simulated import SimulatedInjection, SimulatedInjector, SimulatedOptions, SimulatedReceiver
from ebpf_bot_simulated.records import MAX_STREAMED
from hypothesis import given
from hypothesis import strategies as st

from ebpf_bot_core import Mode, ProbePattern, ProbeTable, Scope, SignalBatch

NAMES = tuple(f"uprobe:/srv/app:function_{i}" for i in range(400))
START = 1_700_000_000_000_000_000


def opened(
    options: SimulatedOptions,
    names: Sequence[str] = NAMES,
    *,
    mode: Mode = Mode.COUNT,
    keep: bool = True,
    scope: Scope = Scope.HOST,
) -> SimulatedInjection:
    injector = SimulatedInjector(attrs.evolve(options, wait=False))
    injection = injector.open(ProbeTable(tuple(names)), scope=scope, mode=mode, keep=keep)
    injection.attach(np.arange(len(names)))
    return injection


def ticks(injection: SimulatedInjection, number: int) -> list[SignalBatch]:
    return [SimulatedReceiver().receive(injection, 0) for _ in range(number)]


def counts(batches: Sequence[SignalBatch]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for batch in batches:
        for signal in batch:
            counted[signal.probe] += signal.count
    return counted


@given(st.integers(0, 2**70), st.sampled_from(Mode), st.booleans())
def test_same_options_and_calls_give_the_same_signals_to_the_byte(seed: int, mode: Mode, keep: bool) -> None:
    options = SimulatedOptions(seed=seed, start_time=START, lose=0.1)
    one, two = (ticks(opened(options, NAMES[:40], mode=mode, keep=keep), 4) for _ in range(2))
    assert [batch.records.tobytes() for batch in one] == [batch.records.tobytes() for batch in two]
    assert [batch.lost for batch in one] == [batch.lost for batch in two]


def test_another_seed_is_another_world() -> None:
    one, two = (counts(ticks(opened(SimulatedOptions(seed=seed)), 3)) for seed in (1, 2))
    assert one != two


def test_both_modes_see_the_same_hits() -> None:
    summed, single = (counts(ticks(opened(SimulatedOptions(seed=3), mode=mode), 5)) for mode in Mode)
    assert summed == single


def test_a_probe_is_hit_as_often_whatever_else_is_attached() -> None:
    everyone = counts(ticks(opened(SimulatedOptions(seed=5)), 20))
    few = counts(ticks(opened(SimulatedOptions(seed=5), NAMES[7:400:40]), 20))
    assert few == {name: everyone[name] for name in few}
    assert len(few) > 5


def test_rates_are_as_programs_have_them() -> None:
    hits = counts(ticks(opened(SimulatedOptions(), mode=Mode.COUNT), 100))
    mean = np.array([hits[name] / 100 for name in NAMES])
    assert 0.05 < np.mean(mean == 0) < 0.15
    assert 0.15 < np.mean((mean > 0) & (mean < 0.35)) < 0.35
    assert 0.40 < np.mean((mean > 0.35) & (mean < 6)) < 0.60
    assert 0.08 < np.mean(mean >= 20) < 0.22
    assert mean.max() <= 200


def test_a_stated_rate_is_kept() -> None:
    rates = {NAMES[0]: 3.0, NAMES[1]: 0.25, "uprobe:*_1?": 0.0, "*": 1.0}
    hits = counts(ticks(opened(SimulatedOptions(rates=rates), NAMES[:20]), 1000))
    assert hits[NAMES[0]] == 3000
    assert 200 < hits[NAMES[1]] < 300
    assert NAMES[13] not in hits
    assert hits[NAMES[3]] == 1000


def test_lost_hits_are_counted_as_lost_and_nothing_else_is() -> None:
    whole = sum(counts(ticks(opened(SimulatedOptions(seed=9)), 10)).values())
    for mode in Mode:
        batches = ticks(opened(SimulatedOptions(seed=9, lose=0.1), mode=mode), 10)
        lost = sum(batch.lost for batch in batches)
        assert sum(batch.total for batch in batches) + lost == whole
        assert 0.09 < lost / whole < 0.11


def test_all_can_be_lost() -> None:
    batches = ticks(opened(SimulatedOptions(lose=1.0), keep=False), 3)
    assert sum(len(batch) for batch in batches) == 0
    assert all(batch.lost > 0 for batch in batches)


def test_a_first_hit_that_was_lost_leaves_the_probe_armed() -> None:
    options = SimulatedOptions(rates={"*": 1.0}, lose=0.5)
    hits = counts(ticks(opened(options, keep=False), 30))
    assert hits == dict.fromkeys(NAMES, 1)


def test_streamed_signals_say_who_and_when() -> None:
    options = SimulatedOptions(start_time=START)
    names = ["uprobe:/usr/bin/checkout:main", "usdt:/usr/lib/libpay.so.2:pay:hold", "syscall:read"]
    first, second = ticks(opened(attrs.evolve(options, rates={"*": 50.0}), names, mode=Mode.STREAM), 2)
    comms = {signal.probe: (signal.comm, signal.pid) for signal in first}
    assert comms[names[0]][0] == "checkout"
    assert comms[names[1]][0] == "libpay"
    assert len(set(comms.values())) == len({comm for comm, _ in comms.values()}), "a program is one process"
    assert {signal.count for signal in first} == {1}
    assert {signal.cpu for signal in first} == {0, 1, 2, 3}
    assert all(signal.pid <= signal.tid < signal.pid + 8 for signal in first)
    times = [signal.time for batch in (first, second) for signal in batch]
    assert times == sorted(times)
    assert START < times[0] < times[-1] == START + 200_000_000


def test_probes_of_a_stream_are_mixed() -> None:
    (batch,) = ticks(opened(SimulatedOptions(rates={"*": 10.0}), NAMES[:10], mode=Mode.STREAM), 1)
    assert (np.diff(batch.records["probe"].astype(int)) < 0).sum() > 10


def test_a_stream_that_is_too_much_loses_the_rest_and_says_so() -> None:
    names = NAMES[:3]
    (batch,) = ticks(opened(SimulatedOptions(rates={"*": 2e6}), names, mode=Mode.STREAM), 1)
    assert len(batch) <= MAX_STREAMED
    assert len(batch) + batch.lost == 6_000_000
    assert len(np.unique(batch.records["probe"])) == 3


def test_opportunities_are_the_ticks_in_which_a_probe_was_attached_and_its_code_ran() -> None:
    injection = opened(SimulatedOptions(faults={NAMES[1]: "never-executed"}), NAMES[:3], keep=False)
    ticks(injection, 2)
    injection.detach(np.array([0]))
    ticks(injection, 3)
    assert injection.inspect().columns["opportunities"].tolist() == [2, 0, 5]


def test_waiting_takes_the_time_that_is_given_and_no_more() -> None:
    injector = SimulatedInjector(SimulatedOptions())
    with injector.open(ProbeTable(NAMES), scope=Scope.HOST, mode=Mode.COUNT, keep=True) as injection:
        for timeout in (0.0, 0.05):
            began = time.monotonic()
            SimulatedReceiver().receive(injection, timeout)
            assert timeout <= time.monotonic() - began < timeout + 1


def test_no_time_passes_in_virtual_time() -> None:
    injection = opened(SimulatedOptions())
    began = time.monotonic()
    SimulatedReceiver().receive(injection, 3600)
    assert time.monotonic() - began < 60


def test_the_built_in_example_tells_its_story_under_every_seed() -> None:
    wanted = ["uprobe:/usr/bin/checkout:*", "syscall:openat", "tracepoint:sched:sched_switch"]
    for seed in range(20):
        injector = SimulatedInjector(SimulatedOptions(seed=seed, wait=False))
        found = injector.find([ProbePattern.parse(text) for text in wanted])
        verdicts = Counter(row.verdict.label for row in found)
        assert verdicts == {"pending": 11, "excluded": 1}
        with injector.open(found.probes, scope=Scope.HOST, mode=Mode.COUNT, keep=False) as injection:
            injection.attach(np.flatnonzero(found.columns["verdict"] == 0))
            assert len(counts(ticks(injection, 5))) >= 8
            ticks(injection, 300)
            known = injection.inspect()
        assert known.columns["opportunities"][found.probes.position("uprobe:/usr/bin/checkout:refund_order")]


@pytest.mark.parametrize("mode", Mode)
def test_a_hundred_thousand_probes_are_no_matter(mode: Mode) -> None:
    injector = SimulatedInjector(SimulatedOptions(binaries={"/srv/big": 100_000}, wait=False))
    found = injector.find([ProbePattern.parse("uprobe:/srv/big:*")])
    assert len(found) == 100_000
    with injector.open(found.probes, scope=Scope.HOST, mode=mode, keep=False) as injection:
        injection.attach(np.arange(100_000))
        began = time.perf_counter()
        assert sum(len(batch) for batch in ticks(injection, 10)) > 60_000
        # Some 3 ms each; what this guards against is a loop over the probes.
        assert time.perf_counter() - began < 2
