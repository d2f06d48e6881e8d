"""The conformance kit: tests that every plugin's stages must pass, and samples to test them with.

A plugin subclasses the abstract test class of its stage and says how to make one; pytest does the rest. The kit needs
pytest and Hypothesis beside the core.

Example:
    from ebpf_bot_core.testing import StoreTests

    class TestParquetStore(StoreTests):
        def open_store(self, path):
            return ParquetStore(ParquetOptions(path=str(path)))
"""

import pytest

# So that a promise that is broken shows its values, as an assertion in a test module would.
pytest.register_assert_rewrite(
    "ebpf_bot_core.testing.injector_attaching",
    "ebpf_bot_core.testing.injector_finding",
    "ebpf_bot_core.testing.injector_host",
    "ebpf_bot_core.testing.injector_signals",
    "ebpf_bot_core.testing.numbered",
    "ebpf_bot_core.testing.processors",
    "ebpf_bot_core.testing.store_disks",
    "ebpf_bot_core.testing.store_machine",
    "ebpf_bot_core.testing.store_records",
    "ebpf_bot_core.testing.stores",
)

from ebpf_bot_core.testing.injectors import InjectorTests  # noqa: E402 - after the line above
from ebpf_bot_core.testing.payloads import payload_batches, sample_payloads  # noqa: E402
from ebpf_bot_core.testing.processes import in_child, in_children  # noqa: E402
from ebpf_bot_core.testing.processors import ProcessorTests  # noqa: E402
from ebpf_bot_core.testing.same import plain_signals  # noqa: E402
from ebpf_bot_core.testing.samples import (  # noqa: E402
    batches,
    evidence,
    probe_names,
    probe_tables,
    runs,
    sample_batch,
    sample_evidence,
    sample_probes,
    sample_run,
)
from ebpf_bot_core.testing.store_disks import StoreDiskTests  # noqa: E402
from ebpf_bot_core.testing.store_records import StoreRecordTests  # noqa: E402
from ebpf_bot_core.testing.stores import StoreTests  # noqa: E402

__all__ = [
    "InjectorTests",
    "ProcessorTests",
    "StoreDiskTests",
    "StoreRecordTests",
    "StoreTests",
    "batches",
    "evidence",
    "in_child",
    "in_children",
    "payload_batches",
    "plain_signals",
    "probe_names",
    "probe_tables",
    "runs",
    "sample_batch",
    "sample_evidence",
    "sample_payloads",
    "sample_probes",
    "sample_run",
]
