"""The kit for processors finds the defects that it is there for, and passes processors that have none."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import pytest

from ebpf_bot_core import SIGNAL_DTYPE, ProbeTable, SignalBatch, SignalProcessor
from ebpf_bot_core.testing import ProcessorTests


@attrs.define
class Applying:
    """A processor out of a function."""

    function: Callable[[SignalBatch], SignalBatch]

    def process(self, batch: SignalBatch) -> SignalBatch:
        return self.function(batch)


class TestPassingOn(ProcessorTests):
    def make_processor(self) -> SignalProcessor:
        return Applying(lambda batch: batch)


class TestFiltering(ProcessorTests):
    def make_processor(self) -> SignalProcessor:
        return Applying(lambda batch: batch.where(batch.records["pid"] % 2 == 0))


class TestExtrapolating(ProcessorTests):
    may_grow = True

    def make_processor(self) -> SignalProcessor:
        return Applying(counting_twice)


def without_its_table(batch: SignalBatch) -> SignalBatch:
    return attrs.evolve(batch, probes=ProbeTable(batch.probes.names))


def writing_into_its_argument(batch: SignalBatch) -> SignalBatch:
    batch.records["cpu"] = 7
    return batch


def counting_twice(batch: SignalBatch) -> SignalBatch:
    return attrs.evolve(batch, records=np.concatenate([batch.records, batch.records]))


def swallowing_losses(batch: SignalBatch) -> SignalBatch:
    return attrs.evolve(batch, lost=0)


def without_appended_fields_when_empty(batch: SignalBatch) -> SignalBatch:
    return batch if len(batch) else attrs.evolve(batch, records=np.zeros(0, SIGNAL_DTYPE))


def failing_on_nothing(batch: SignalBatch) -> SignalBatch:
    return batch.where(batch.records["time"] == batch.records["time"].max())


@pytest.mark.parametrize(
    ("function", "test"),
    [
        (without_its_table, "test_the_table_stays_the_same"),
        (writing_into_its_argument, "test_batches_pass_through_unharmed"),
        (counting_twice, "test_batches_pass_through_unharmed"),
        (swallowing_losses, "test_batches_pass_through_unharmed"),
        (without_appended_fields_when_empty, "test_fields_do_not_come_and_go"),
        (failing_on_nothing, "test_an_empty_batch_is_a_batch"),
    ],
)
def test_the_kit_fails_a_broken_processor(function: Callable[[SignalBatch], SignalBatch], test: str) -> None:
    class Broken(ProcessorTests):
        def make_processor(self) -> SignalProcessor:
            return Applying(function)

    with pytest.raises((AssertionError, ValueError)):
        getattr(Broken(), test)()
