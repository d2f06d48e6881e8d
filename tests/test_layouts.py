"""Layouts: payloads are read as they were packed, whatever is taken out of a batch."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given

from ebpf_bot_core import PAYLOAD, SIGNAL_DTYPE, UNRECORDED, Layouts, SignalBatch
from ebpf_bot_core.testing import payload_batches, sample_batch, sample_payloads, sample_probes


def test_a_signal_shows_what_its_own_layout_names():
    batch = sample_payloads(sample_probes(3), 6)
    assert [signal.extra for signal in batch][:3] == [
        {"arg0": 0, "arg1": -1, "arg2": -2, "arg3": -3, "arg4": -4, "arg5": -5},
        {"filename": b"/tmp/\xff\\", "fd": 1, "truncated": False},
        {},
    ]


def test_appended_fields_stand_beside_the_payload():
    plain = sample_batch(sample_probes(1), 2)
    records = np.zeros(2, [*SIGNAL_DTYPE.descr, ("weight", "<i8")])
    records["weight"] = [5, 6]
    groups = [(np.arange(2), {"arg0": np.array([1, 2])})]
    records, layouts = Layouts.pack(records, groups, 1)
    batch = SignalBatch(plain.probes, records, layouts=layouts)
    assert batch.appended == ("weight",)
    assert [signal.extra for signal in batch] == [{"weight": 5, "arg0": 1}, {"weight": 6, "arg0": 2}]


def test_a_hit_that_left_no_record_has_no_payload():
    batch = sample_payloads(sample_probes(1), 3)
    batch.records["cpu"] = [0, UNRECORDED, -1]  # -1: of a CPU that is not known
    assert [bool(signal.extra) for signal in batch] == [True, False, True]


def test_without_layouts_a_payload_is_bytes_like_any_field():
    batch = attrs.evolve(sample_payloads(sample_probes(1), 1), layouts=None)
    assert batch.appended == (PAYLOAD,)
    assert list(next(iter(batch)).extra) == [PAYLOAD]


@given(batch=payload_batches())
def test_a_part_of_a_batch_says_the_same_of_its_signals(batch):
    chosen = np.arange(len(batch)) % 2 == 0
    everything = [repr(signal) for signal in batch]
    assert [repr(signal) for signal in batch.where(chosen)] == everything[::2]


@given(batch=payload_batches())
def test_every_record_is_in_one_group_at_most_and_in_that_of_its_probe(batch):
    seen = [(at, payload.dtype) for positions, payload in batch.payloads() for at in positions.tolist()]
    assert len({at for at, _ in seen}) == len(seen)
    for at, dtype in seen:
        assert batch.layouts.dtypes[batch.layouts.of_probe[batch.records["probe"][at]]] == dtype


def test_equal_layouts_are_kept_once():
    one, other = np.dtype([("a", "<i8")]), np.dtype([("b", "<i8")])
    layouts = Layouts.of([one, None, other, np.dtype([("a", "<i8")])])
    assert (layouts.dtypes, layouts.of_probe.tolist()) == ((one, other), [0, -1, 1, 0])


def test_layouts_must_be_as_wide_as_the_payload():
    batch = sample_payloads(sample_probes(1), 1)
    with pytest.raises(ValueError, match="the payload has"):
        attrs.evolve(batch, layouts=Layouts.of([np.dtype([("a", "u1")])]))
    with pytest.raises(ValueError, match="different layouts"):
        SignalBatch.concat([batch, attrs.evolve(batch, layouts=None)])
