"""The same telemetry for a single stage that stands without a pipeline."""

from __future__ import annotations

from typing import overload

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from ebpf_bot_core.stages import ProbeInjector, SignalProcessor, SignalReceiver, SignalStore
from ebpf_bot_core.telemetry.instruments import Instruments
from ebpf_bot_core.telemetry.stages import TracedInjector, TracedProcessor, TracedReceiver, TracedStore

__all__ = ["traced"]


@overload
def traced(
    stage: ProbeInjector,
    *,
    name: str = ...,
    tracer_provider: TracerProvider | None = ...,
    meter_provider: MeterProvider | None = ...,
) -> TracedInjector: ...
@overload
def traced(
    stage: SignalReceiver,
    *,
    name: str = ...,
    tracer_provider: TracerProvider | None = ...,
    meter_provider: MeterProvider | None = ...,
) -> TracedReceiver: ...
@overload
def traced(
    stage: SignalProcessor,
    *,
    name: str = ...,
    tracer_provider: TracerProvider | None = ...,
    meter_provider: MeterProvider | None = ...,
) -> TracedProcessor: ...
@overload
def traced(
    stage: SignalStore,
    *,
    name: str = ...,
    tracer_provider: TracerProvider | None = ...,
    meter_provider: MeterProvider | None = ...,
) -> TracedStore: ...
def traced(
    stage: ProbeInjector | SignalReceiver | SignalProcessor | SignalStore,
    *,
    name: str = "",
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> TracedInjector | TracedReceiver | TracedProcessor | TracedStore:
    """Return the stage wrapped in the spans and counts that it would have in a pipeline.

    An injection that a traced injector opens is itself traced, and a traced receiver reads it.

    Args:
        stage: an injector, a receiver, a processor or a store.
        name: what spans call it; by default its class.
        tracer_provider: by default the global one; likewise `meter_provider`.

    Raises:
        TypeError: it is none of these.
    """
    instruments = Instruments(tracer_provider, meter_provider)
    known = name or type(stage).__name__
    match stage:
        case ProbeInjector():
            return TracedInjector(stage, known, instruments)
        case SignalReceiver():
            return TracedReceiver(stage, known, instruments)
        case SignalProcessor():
            return TracedProcessor(stage, known, instruments)
        case SignalStore():
            return TracedStore(stage, known, instruments)
    raise TypeError(f"{type(stage).__name__} is no stage")
