"""The algebra of evidence: laws that hold for any evidence, and a slow oracle, row by row, that agrees."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebpf_bot_core import EVIDENCE_DTYPE, Evidence, ProbeEvidence, ProbeTable, Reason, Verdict
from ebpf_bot_core.testing import evidence, probe_names, probe_tables, sample_evidence, sample_probes

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines stall

BOTTOM = ProbeEvidence("", Verdict.PENDING, Reason.NOT_EXAMINED, "", 0, None, None, 0.0, 0)


def below(lower: Evidence, upper: Evidence) -> bool:
    """The order of the algebra, spelled out: `upper` says all that `lower` says."""
    if lower.signals_lost > upper.signals_lost or not set(lower.probes) <= set(upper.probes):
        return False
    rows = {row.probe: row for row in upper}
    return all(row_below(row, rows[row.probe]) for row in lower)


def row_below(lower: ProbeEvidence, upper: ProbeEvidence) -> bool:
    first_is_earlier = lower.first_fired is None or (upper.first_fired or 0) <= lower.first_fired
    return (
        standing(lower) <= standing(upper)
        and (lower.first_fired is None or upper.first_fired is not None)
        and first_is_earlier
        and (lower.last_fired or 0) <= (upper.last_fired or 0)
        and lower.hits <= upper.hits
        and lower.live_seconds <= upper.live_seconds
        and lower.opportunities <= upper.opportunities
        and lower.cost_seconds <= upper.cost_seconds
    )


def standing(row: ProbeEvidence) -> tuple[int, int, str]:
    return row.verdict, row.reason.rank, row.detail


def slow_join(one: Evidence, two: Evidence) -> Evidence:
    """Join as the documentation says it, a row at a time."""
    return slowly(one, two, max, max(one.signals_lost, two.signals_lost))


def slow_fold(runs: list[Evidence]) -> Evidence:
    bottom = Evidence.pending(ProbeTable.of(name for run in runs for name in run.probes))
    return reduce(
        lambda one, two: slowly(one, two, lambda a, b: a + b, one.signals_lost + two.signals_lost),
        runs,
        bottom,
    )


def slowly(one: Evidence, two: Evidence, combine: Callable[[int, int], int], lost: int) -> Evidence:
    probes = ProbeTable.of([*one.probes, *two.probes])
    columns, details = np.zeros(len(probes), EVIDENCE_DTYPE), {}
    for i, probe in enumerate(probes):
        a, b = row_of(one, probe), row_of(two, probe)
        verdict, reason, detail = max(
            ((row[0], row[1], row[-1]) for row in (a, b)), key=lambda it: (it[0], Reason(it[1]).rank, it[2])
        )
        firsts = [first for first in (a[3], b[3]) if first]
        columns[i] = (
            verdict,
            reason,
            combine(a[2], b[2]),
            min(firsts, default=0),
            max(a[4], b[4]),
            combine(a[5], b[5]),
            combine(a[6], b[6]),
            combine(a[7], b[7]),
        )
        if detail:
            details[i] = detail
    return Evidence(probes, columns, details, lost)


def row_of(some: Evidence, probe: str) -> tuple[Any, ...]:
    if probe not in some.probes:
        return (Verdict.PENDING, Reason.NOT_EXAMINED, 0, 0, 0, 0, 0, 0, "")
    at = some.probes.position(probe)
    return (*some.columns[at].tolist(), some.details.get(at, ""))


@law
@given(one=evidence(), two=evidence())
def test_join_is_commutative(one: Evidence, two: Evidence) -> None:
    assert one.join(two) == two.join(one)


@law
@given(one=evidence(), two=evidence(), three=evidence())
def test_join_is_associative(one: Evidence, two: Evidence, three: Evidence) -> None:
    assert one.join(two).join(three) == one.join(two.join(three))


@law
@given(one=evidence(), two=evidence())
def test_join_is_idempotent(one: Evidence, two: Evidence) -> None:
    assert one.join(one) == one
    assert one.join(two).join(two) == one.join(two)


@law
@given(one=evidence(), two=evidence(), more=evidence())
def test_join_is_the_least_upper_bound(one: Evidence, two: Evidence, more: Evidence) -> None:
    joined = one.join(two)
    assert below(one, joined)
    assert below(two, joined)
    assert below(joined, joined.join(more))
    # Whatever lies above both lies above their join: such an upper bound is any join of both with more.
    assert below(joined, two.join(more).join(one))


@law
@given(one=evidence(), two=evidence(), more=evidence())
def test_join_is_monotone(one: Evidence, two: Evidence, more: Evidence) -> None:
    assert below(one.join(more), one.join(two).join(more))


@law
@given(one=evidence(), two=evidence())
def test_the_order_is_the_one_that_join_defines(one: Evidence, two: Evidence) -> None:
    assert below(one, two) == (one.join(two) == two)


@law
@given(some=evidence())
def test_pending_is_the_bottom(some: Evidence) -> None:
    assert Evidence.pending(some.probes).join(some) == some
    assert some.join(Evidence.pending(ProbeTable(()))) == some
    assert below(Evidence.pending(some.probes), some)


@law
@given(one=evidence(), two=evidence())
def test_join_agrees_with_the_slow_oracle(one: Evidence, two: Evidence) -> None:
    assert one.join(two) == slow_join(one, two)


@law
@given(data=st.data(), probes=probe_tables())
def test_join_over_one_table_agrees_with_the_slow_oracle(data: st.DataObject, probes: ProbeTable) -> None:
    """The quick way for evidence that shares its table is the same join."""
    one, two = data.draw(evidence(probes)), data.draw(evidence(probes))
    joined = one.join(two)
    assert joined.probes is probes
    assert joined == slow_join(one, two)


@law
@given(data=st.data(), one=evidence())
def test_growing_is_joining_in_place(data: st.DataObject, one: Evidence) -> None:
    """It keeps the table where that has every probe, since others hold on to it."""
    names = data.draw(st.permutations(one.probes.names))
    several = data.draw(st.integers(0, len(names)))
    part = data.draw(evidence(ProbeTable(tuple(names[:several]))))
    for two in (part, data.draw(evidence())):
        expected, table, columns = slow_join(one, two), one.probes, one.columns
        has_all = set(two.probes) <= set(table)
        one.grow(two)
        assert one == expected
        assert (one.probes is table and one.columns is columns) == has_all


@law
@given(one=evidence(), two=evidence())
def test_join_leaves_its_arguments_alone(one: Evidence, two: Evidence) -> None:
    before = one.copy(), two.copy()
    joined = one.join(two)
    joined.columns["hits"] += 1
    joined.details.clear()
    assert (one, two) == before


@law
@given(one=evidence(), two=evidence())
def test_hits_stand_exactly_where_it_fired(one: Evidence, two: Evidence) -> None:
    for combined in (one.join(two), Evidence.fold([one, two])):
        assert ((combined.columns["hits"] > 0) == combined.fired).all()
        assert ((combined.columns["first_fired"] > 0) == combined.fired).all()
        assert (combined.columns["first_fired"] <= combined.columns["last_fired"]).all()


@law
@given(pieces=st.lists(evidence(), min_size=1, max_size=5), seed=st.integers())
def test_records_of_a_run_may_come_in_any_order_and_twice(pieces: list[Evidence], seed: int) -> None:
    shuffled = [*pieces, *pieces]
    random.Random(seed).shuffle(shuffled)
    assert reduce(Evidence.join, shuffled) == reduce(Evidence.join, pieces)


@law
@given(runs=st.lists(evidence(), min_size=1, max_size=5), seed=st.integers())
def test_fold_does_not_depend_on_the_order_of_runs(runs: list[Evidence], seed: int) -> None:
    shuffled = list(runs)
    random.Random(seed).shuffle(shuffled)
    assert Evidence.fold(shuffled) == Evidence.fold(runs)


@law
@given(runs=st.lists(evidence(), min_size=1, max_size=4))
def test_fold_agrees_with_the_slow_oracle(runs: list[Evidence]) -> None:
    assert Evidence.fold(runs) == slow_fold(runs)


@law
@given(runs=st.lists(evidence(), min_size=1, max_size=4), again=st.integers(0, 3))
def test_a_record_that_arrives_twice_is_folded_once(runs: list[Evidence], again: int) -> None:
    """Records of one run join before runs are folded, so a duplicate adds no count."""
    twice = list(runs)
    at = again % len(runs)
    twice[at] = twice[at].join(runs[at])
    assert Evidence.fold(twice) == Evidence.fold(runs)


@law
@given(runs=st.lists(evidence(), min_size=2, max_size=4))
def test_fold_says_at_least_what_each_run_says(runs: list[Evidence]) -> None:
    folded = Evidence.fold(runs)
    assert all(below(run, folded) for run in runs)


def test_folding_nothing_gives_nothing() -> None:
    assert Evidence.fold([]) == Evidence.pending(ProbeTable(()))


@law
@given(some=evidence(), more=probe_tables(), seed=st.integers())
def test_aligned_says_the_same_in_another_order(some: Evidence, more: ProbeTable, seed: int) -> None:
    names = list(dict.fromkeys([*some.probes, *more]))
    random.Random(seed).shuffle(names)
    aligned = some.aligned(ProbeTable(tuple(names)))
    assert list(aligned.probes) == names
    assert {row.probe: row for row in aligned if row.probe in some.probes} == {row.probe: row for row in some}
    assert all(row_is_bottom(row) for row in aligned if row.probe not in some.probes)
    assert aligned.signals_lost == some.signals_lost


def row_is_bottom(row: ProbeEvidence) -> bool:
    return row_below(row, BOTTOM)


@law
@given(some=evidence(probes=sample_probes(3)))
def test_evidence_cannot_be_aligned_to_a_table_that_lacks_its_probes(some: Evidence) -> None:
    with pytest.raises(KeyError):
        some.aligned(sample_probes(2))


@law
@given(data=st.data(), some=evidence())
def test_take_agrees_with_iteration(data: st.DataObject, some: Evidence) -> None:
    order = data.draw(st.permutations(range(len(some))))
    rows = order[: data.draw(st.integers(0, len(order)))]
    everything = list(some)
    assert list(some.take(np.array(rows, np.intp))) == [everything[row] for row in rows]


@law
@given(some=evidence())
def test_iteration_gives_the_columns_in_words(some: Evidence) -> None:
    listed = list(some)
    assert [row.probe for row in listed] == list(some.probes)
    assert [row.verdict is Verdict.FIRED for row in listed] == some.fired.tolist()
    assert [row.hits for row in listed] == some.columns["hits"].tolist()
    assert [row.first_fired is None for row in listed] == (some.columns["first_fired"] == 0).tolist()
    assert [row.live_seconds for row in listed] == pytest.approx(some.columns["live_ns"] / 1e9)
    assert {i: row.detail for i, row in enumerate(listed) if row.detail} == some.details


STATEMENTS = st.tuples(
    probe_names(),
    st.sampled_from([verdict for verdict in Verdict if verdict is not Verdict.FIRED]),
    st.sampled_from([Reason.NOT_EXAMINED, Reason.NOT_FOUND, Reason.NOT_CALLED]),
    st.sampled_from(["", "a", "b"]),
)


@law
@given(statements=st.lists(STATEMENTS, max_size=8))
def test_statements_about_one_probe_join(statements: list[tuple[str, Verdict, Reason, str]]) -> None:
    one_by_one = [Evidence.stating([statement]) for statement in statements]
    assert Evidence.stating(statements) == reduce(Evidence.join, one_by_one, Evidence.pending(ProbeTable(())))


@law
@given(some=evidence(), seed=st.integers())
def test_equality_ignores_the_order_of_rows_and_nothing_else(some: Evidence, seed: int) -> None:
    rows = np.arange(len(some))
    np.random.default_rng(abs(seed)).shuffle(rows)
    assert some.take(rows) == some
    assert some != sample_evidence(sample_probes())
    changed = some.copy()
    changed.signals_lost += 1
    assert changed != some
    if len(some):
        changed = some.copy()
        changed.columns["opportunities"][0] += 1
        assert changed != some
        changed = some.copy()
        changed.details[0] = some.details.get(0, "") + "!"
        assert changed != some


def test_evidence_is_compared_with_evidence_only() -> None:
    assert sample_evidence(sample_probes()) != "evidence"


@pytest.mark.parametrize(
    "columns", [np.zeros(2, EVIDENCE_DTYPE), np.zeros(3), np.zeros((3, 1), EVIDENCE_DTYPE)]
)
def test_columns_must_fit_the_table(columns: NDArray[np.void]) -> None:
    with pytest.raises(ValueError, match="evidence needs 3 rows of EVIDENCE_DTYPE"):
        Evidence(sample_probes(3), columns)
