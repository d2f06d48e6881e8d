"""What every signal processor promises."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core.signal import SIGNAL_DTYPE, SignalBatch
from ebpf_bot_core.stages import SignalProcessor
from ebpf_bot_core.testing.same import plain_signals
from ebpf_bot_core.testing.samples import batches, probe_tables, sample_batch, sample_probes

__all__ = ["ProcessorTests"]


class ProcessorTests(abc.ABC):
    """Subclass this, give it `make_processor`, and every promise of `SignalProcessor` is a test.

    Attributes:
        may_grow: whether the processor may report more hits than it was given, as one that extrapolates does.

    Example:
        class TestOnlyErrors(ProcessorTests):
            def make_processor(self):
                return OnlyErrors()
    """

    may_grow: ClassVar[bool] = False

    @abc.abstractmethod
    def make_processor(self) -> SignalProcessor:
        """Return a new processor that has seen no batch yet."""

    def test_is_a_signal_processor(self) -> None:
        """It has the method that the pipeline calls."""
        assert isinstance(self.make_processor(), SignalProcessor)

    def test_an_empty_batch_is_a_batch(self) -> None:
        """Quiet steps have no signals; nothing is made out of them."""
        result = self.make_processor().process(SignalBatch.empty(sample_probes()))
        assert isinstance(result, SignalBatch)
        assert self.may_grow or result.total == 0

    def test_the_table_stays_the_same(self) -> None:
        """Rows mean the same probes before and after: the very table is passed on."""
        batch = sample_batch(sample_probes())
        assert self.make_processor().process(batch).probes is batch.probes

    def test_fields_do_not_come_and_go(self) -> None:
        """Batches with the same fields, empty or not, leave with the same fields, whatever these are."""
        appended: list[tuple[str, Any]] = [("latency", "<u8")]
        with_more = np.dtype([*SIGNAL_DTYPE.descr, *appended])
        for dtype in (SIGNAL_DTYPE, with_more):
            processor, seen = self.make_processor(), set()
            for size in (0, 3, 1, 0):
                records = np.zeros(size, dtype)
                records["count"] = 1
                seen.add(str(processor.process(SignalBatch(sample_probes(), records)).records.dtype))
            assert len(seen) == 1, f"the same fields in, but different fields out: {seen}"

    @given(data=st.data())
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    def test_batches_pass_through_unharmed(self, data: st.DataObject) -> None:
        """Over any batches: the one given stays as it is, hits and losses are not made up, rows stay in the table."""
        processor, hits_in, hits_out = self.make_processor(), 0, 0
        probes = data.draw(probe_tables(min_size=1))
        for batch in data.draw(st.lists(batches(probes), min_size=1, max_size=4)):
            before = plain_signals([batch])
            result = processor.process(batch)
            assert plain_signals([batch]) == before, "it changed the batch that it was given"
            assert result.probes is probes
            assert result.lost == batch.lost, "what the receiver lost must reach the store"
            assert not len(result) or result.records["probe"].max() < len(probes)
            hits_in, hits_out = hits_in + batch.total, hits_out + result.total
            assert self.may_grow or hits_out <= hits_in, "it passed on more hits than it was given"
