"""Single stages outside a pipeline, wrapped by `traced`."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ebpf_bot_core import ProbeTable, SignalBatch, traced
from ebpf_bot_core.stores.memory import MemoryStore
from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry.stages import TracedInjector, TracedReceiver, TracedStore
from tests.test_pipeline import FakeInjector, FakeReceiver


class Passing:
    def process(self, batch):
        return batch


def test_a_processor_alone_has_its_span():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    batch = SignalBatch.empty(ProbeTable(("syscall:a",)))
    assert traced(Passing(), name="mine", tracer_provider=provider).process(batch) is batch
    (span,) = exporter.get_finished_spans()
    assert span.name == names.PROCESS
    assert span.attributes[names.PLUGIN_NAME] == "mine"


def test_every_kind_of_stage_is_told_apart():
    assert isinstance(traced(FakeInjector()), TracedInjector)
    assert isinstance(traced(FakeReceiver()), TracedReceiver)
    assert isinstance(traced(MemoryStore()), TracedStore)


def test_what_is_no_stage_is_refused():
    with pytest.raises(TypeError, match="int is no stage"):
        traced(3)
