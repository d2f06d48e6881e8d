"""What the tests of backends share: the core's kit on programs made for it, every probe kind, and a bench for closer looks.

They need pytest, gcc and the headers of systemtap (`sys/sdt.h`).
"""

import pytest

# So that what is not as it should be shows its values, as an assertion in a test module would.
pytest.register_assert_rewrite(
    "ebpf_bot_linux.testing.bench",
    "ebpf_bot_linux.testing.code_kinds",
    "ebpf_bot_linux.testing.kernel_event_kinds",
    "ebpf_bot_linux.testing.kernel_function_kinds",
)

from ebpf_bot_linux.testing.bench import SECONDS, Bench, Trial  # noqa: E402 - after the line above
from ebpf_bot_linux.testing.code_kinds import CodeKindTests  # noqa: E402
from ebpf_bot_linux.testing.conformance import (  # noqa: E402
    SyscallTests,
    UprobeTests,
    UretprobeTests,
    UsdtTests,
)
from ebpf_bot_linux.testing.kernel_event_kinds import KernelEventTests  # noqa: E402
from ebpf_bot_linux.testing.kernel_function_kinds import KernelFunctionTests  # noqa: E402
from ebpf_bot_linux.testing.kinds import KindTests, Shows  # noqa: E402

__all__ = [
    "SECONDS",
    "Bench",
    "CodeKindTests",
    "KernelEventTests",
    "KernelFunctionTests",
    "KindTests",
    "Shows",
    "SyscallTests",
    "Trial",
    "UprobeTests",
    "UretprobeTests",
    "UsdtTests",
]
