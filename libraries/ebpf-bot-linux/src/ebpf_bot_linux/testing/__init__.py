"""What the tests of backends share: the promises of the core's kit on programs made for it, and a bench for closer looks.

They need pytest, gcc and the headers of systemtap (`sys/sdt.h`).
"""

from ebpf_bot_linux.testing.bench import SECONDS, Bench, Trial
from ebpf_bot_linux.testing.conformance import SyscallTests, UprobeTests, UretprobeTests, UsdtTests

__all__ = [
    "SECONDS",
    "Bench",
    "SyscallTests",
    "Trial",
    "UprobeTests",
    "UretprobeTests",
    "UsdtTests",
]
