"""Which sites count for another file: each call there counts once for each function of that place, for no other."""

from __future__ import annotations

import numpy as np
from ebpf_bot_linux.attaching.standing_in import StandIns
from ebpf_bot_linux.points import Binary, FunctionPoint
from ebpf_bot_linux.sites import Sites
from hypothesis import example, given
from hypothesis import strategies as st

HERE = Binary("/here", 1, 2, 3, 4, ((0, 1000),), None)
THERE = Binary("/there", 5, 6, 7, 8, ((0, 1000),), None)
PLACES = st.lists(st.integers(0, 7), unique=True, max_size=3).map(sorted).map(tuple)
"""Few places, so that functions share them."""


def sites_of(binary: Binary, functions: list[tuple[int, ...]]) -> Sites:
    return Sites.of([FunctionPoint(binary, offsets, False) if offsets else None for offsets in functions])


@given(st.lists(st.tuples(PLACES.filter(len), PLACES), max_size=8))
@example([((1,), (2,))])
@example([((1, 2), (3,))])
@example([((1,), (2, 3))])
@example([((1,), (3,)), ((2,), (3,))])  # merged there
@example([((1,), (2,)), ((1,), (3,))])  # merged here
@example([((1,), (3,)), ((1,), (3,))])  # merged in both
def test_each_call_counts_once_for_each_function_of_its_place(
    functions: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    here = sites_of(HERE, [places for places, _ in functions])
    there = sites_of(THERE, [places for _, places in functions])
    stand_ins = StandIns.of(here, there, np.arange(len(functions)))

    of_here = range(len(functions))
    assert stand_ins.absent.tolist() == [row for row in of_here if not functions[row][1]]
    uncounted = {*stand_ins.mixed.tolist()}
    assert uncounted <= {row for row in of_here if functions[row][1]}
    for place in set(there.pair_site.tolist()):
        sharing = set(there.pair_row[there.pair_site == place].tolist()) & set(of_here)
        counting = [int(layer[place]) for layer in stand_ins.layers if layer[place]]
        counted = [row for site in counting for row in here.pair_row[here.pair_site == site].tolist()]
        assert len(counted) == len(set(counted))
        assert set(counted) <= sharing
        assert sharing - set(counted) <= uncounted


def test_a_function_with_a_site_of_its_own_is_always_counted() -> None:
    here = sites_of(HERE, [(1,), (2,), (3, 4)])
    there = sites_of(THERE, [(5, 6), (5,), (5, 7)])
    stand_ins = StandIns.of(here, there, np.arange(3))
    assert not len(stand_ins.mixed)
    assert not len(stand_ins.absent)
    assert len(stand_ins.layers) == 3
