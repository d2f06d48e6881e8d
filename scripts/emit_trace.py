"""Sends one step of the pipeline, on simulated probes, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says.

It prints the spans and says whether they, the metrics and the logs were accepted; if not, why, and exits with 1.
"""

from __future__ import annotations

import sys

from emitting import emit

from ebpf_bot_core import UnifiedPipeline


def one_step() -> None:
    """Run the built-in plan for one step."""
    with UnifiedPipeline() as pipeline:
        print(f"decided: {pipeline.collect_and_decide()}")


if __name__ == "__main__":
    sys.exit(emit(one_step))
