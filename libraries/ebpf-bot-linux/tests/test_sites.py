"""Sites: the numbering, and the sums over it."""

from __future__ import annotations

import numpy as np
from ebpf_bot_linux.counting import CountSource
from ebpf_bot_linux.points import (
    Binary,
    FentryPoint,
    FunctionPoint,
    KprobePoint,
    RawTracepointPoint,
    SoftwarePoint,
    SyscallExitPoint,
    SyscallPoint,
    TracepointPoint,
    UsdtPoint,
)
from ebpf_bot_linux.sites import CodeKind, KernelKind, Sites
from hypothesis import given
from hypothesis import strategies as st

from ebpf_bot_core import ProbeTable

ONE, TWO = (Binary(f"/bin/{name}", 1, number, 0, 100, ((0, 100),), None) for number, name in enumerate("ab"))

points = st.lists(
    st.one_of(
        st.none(),
        st.builds(
            FunctionPoint,
            st.sampled_from([ONE, TWO]),
            st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True).map(
                lambda at: tuple(sorted(at))
            ),
            st.booleans(),
        ),
        st.builds(
            UsdtPoint,
            st.sampled_from([ONE, TWO]),
            st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 20, 22])), min_size=1, max_size=3).map(
                lambda at: tuple(sorted(set(at)))
            ),
        ),
        st.builds(TracepointPoint, st.integers(1, 3)),
        st.builds(RawTracepointPoint, st.sampled_from("xyz")),
        st.builds(SyscallPoint, st.integers(0, 3)),
        st.builds(SyscallExitPoint, st.integers(0, 3)),
        st.builds(KprobePoint, st.sampled_from([("f",), ("g",), (1,), (1, 2)]), st.booleans()),
        st.builds(FentryPoint, st.integers(0, 3), st.booleans()),
        st.builds(SoftwarePoint, st.integers(0, 2), st.integers(1, 2)),
    ),
    max_size=12,
)


def places(point):  # noqa: PLR0911 - a line for each
    """What tells the places of a point from all others."""
    match point:
        case None:
            return []
        case FunctionPoint():
            return [(point.binary, point.on_return, offset) for offset in point.offsets]
        case UsdtPoint():
            return [(point.binary, False, offset) for offset in {offset for offset, _ in point.sites}]
        case TracepointPoint():
            return [("id", point.id)]
        case RawTracepointPoint():
            return [("name", point.name)]
        case SyscallPoint() | SyscallExitPoint():
            return [(type(point), point.number)]
        case KprobePoint():
            return [("function", point.on_return, function) for function in point.functions]
        case FentryPoint():
            return [("type", point.on_return, point.btf_id)]
        case SoftwarePoint():
            return [("event", point.event, point.period)]


@given(points)
def test_every_place_has_one_number_and_every_row_the_numbers_of_its_places(rows):
    sites = Sites.of(rows)
    number_of = {}
    for row, site in zip(sites.pair_row.tolist(), sites.pair_site.tolist(), strict=True):
        number_of.setdefault(row, set()).add(site)
    meaning = {}
    for row, point in enumerate(rows):
        assert len(number_of.get(row, ())) == len(places(point))
        for place in places(point):
            meaning[place] = meaning.get(place, number_of[row]) & number_of[row]
    assert all(numbers for numbers in meaning.values())
    used = {site for numbers in number_of.values() for site in numbers}
    assert used == set(range(1, sites.first_load_site))
    assert len(used) == len(meaning)
    assert sites.size == sites.first_load_site + len(sites.binaries)
    assert (np.diff(sites.pair_row) >= 0).all()
    assert [group.first for group in sites.groups] == [1, *(group.end for group in sites.groups)][:-1]


@given(points)
def test_rows_and_sites_find_each_other(rows):
    sites = Sites.of(rows)
    for row, point in enumerate(rows):
        only = np.zeros(len(rows), bool)
        only[row] = True
        mask = sites.of_rows(only)
        assert mask.sum() == len(places(point))
        if mask.any():
            assert sites.rows_with(mask)[row]
    assert not sites.rows_with(np.zeros(sites.size, bool)).any()


def test_functions_are_grouped_by_binary_and_direction():
    sites = Sites.of(
        [
            FunctionPoint(ONE, (5, 7), on_return=False),
            FunctionPoint(TWO, (5,), on_return=False),
            FunctionPoint(ONE, (5,), on_return=True),
            FunctionPoint(ONE, (7,), on_return=False),
            SyscallPoint(3),
        ]
    )
    assert [(group.kind, group.keys) for group in sites.groups] == [
        (CodeKind(ONE, on_return=False), (5, 7)),
        (CodeKind(TWO, on_return=False), (5,)),
        (CodeKind(ONE, on_return=True), (5,)),
        (KernelKind(SyscallPoint), (3,)),
    ]
    assert sites.binary_of_row.tolist() == [0, 1, 0, 0, -1]


def test_a_place_has_its_semaphore_whatever_is_probed_there():
    sites = Sites.of(
        [
            FunctionPoint(ONE, (5, 7), on_return=True),
            UsdtPoint(ONE, ((5, 20), (6, 0))),
            FunctionPoint(ONE, (5, 7), on_return=False),
            UsdtPoint(TWO, ((7, 22), (7, 24))),
        ]
    )
    assert [(group.kind, group.keys, group.semaphores) for group in sites.groups] == [
        (CodeKind(ONE, on_return=True), (5, 7), {5: 20}),
        (CodeKind(ONE, on_return=False), (5, 6, 7), {5: 20}),
        (CodeKind(TWO, on_return=False), (7,), {7: 22}),
    ]
    assert sites.binary_of_row.tolist() == [0, 0, 0, 1]
    assert sites.pair_site[sites.pair_row == 1].tolist() == [3, 4]
    assert sites.pair_site[sites.pair_row == 2].tolist() == [3, 5]


class Table:
    """Stands in for the programs: counters that a test sets."""

    def __init__(self, size):
        self.table = np.zeros(size, np.uint64)
        self.counters = self
        self.misses = 0

    def snapshot(self):
        return self.table.copy()

    def lost(self):
        return self.misses


@given(points, st.data())
def test_a_probes_hits_are_those_of_all_its_sites_since_the_last_batch(rows, data):
    sites = Sites.of(rows)
    probes = ProbeTable(tuple(f"syscall:{i}" for i in range(len(rows))))
    table = Table(sites.size)
    source = CountSource(probes, sites, table, keep=True)
    total = np.zeros(len(rows), np.int64)
    for _ in range(3):
        more = data.draw(st.lists(st.integers(0, 3), min_size=sites.size, max_size=sites.size))
        table.table += np.array(more, np.uint64)
        table.misses += 2
        batch = source.drain()
        assert batch.lost == 2
        assert len(set(batch.records["probe"].tolist())) == len(batch)
        assert (batch.records["count"] > 0).all()
        np.add.at(total, batch.records["probe"], batch.records["count"].astype(np.int64))
    expected = np.zeros(len(rows), np.int64)
    np.add.at(expected, sites.pair_row, table.table[sites.pair_site].astype(np.int64))
    assert total.tolist() == expected.tolist()
    assert len(source.drain()) == 0


def test_counters_beyond_what_a_float_can_hold_stay_exact():
    sites = Sites.of([SyscallPoint(1)])
    table = Table(sites.size)
    source = CountSource(ProbeTable(("syscall:a",)), sites, table, keep=True)
    table.table[1] = (1 << 63) + 1
    assert source.drain().records["count"].tolist() == [(1 << 63) + 1]
