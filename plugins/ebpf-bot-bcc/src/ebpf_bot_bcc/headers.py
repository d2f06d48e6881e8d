"""Which headers BCC compiles against: the running kernel's own, else some made of its BTF; never another kernel's.

Headers of another kernel compile as well, and programs then read fields from where they are not, without a word.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from ebpf_bot_bcc.shim import BTF, shim

__all__ = ["Headers", "headers"]

_MODULES: Final = Path("/lib/modules")
_IN_KERNEL: Final = Path("/sys/kernel/kheaders.tar.xz")
"""CONFIG_IKHEADERS: the kernel carries its headers, and BCC unpacks them."""
_RELEASE: Final = re.compile(r'UTS_RELEASE\s+"([^"]+)"')


@attrs.frozen
class Headers:
    """What BCC takes for the kernel's source.

    Attributes:
        folder: what BCC is told; None where it finds the kernel's own by itself.
        made: whether they were made of the kernel's BTF.
    """

    folder: Path | None
    made: bool


def headers(declare: Callable[[Path], None], modules: Path = _MODULES) -> Headers:
    """Return the headers for the running kernel.

    Args:
        declare: as for `shim`.
        modules: where kernels have a folder each.

    Raises:
        BackendError: it has none, and no BTF.
    """
    told = os.environ.get("BCC_KERNEL_SOURCE")
    if told and _is_of_this_kernel(Path(told)) and _is_enough(Path(told)):
        return Headers(Path(told), made=False)
    build, source = (modules / platform.release() / name for name in ("build", "source"))
    installed = _is_of_this_kernel(build) and _is_enough(source if source.is_dir() else build)
    if installed or (_IN_KERNEL.exists() and not BTF.exists()):
        return Headers(None, made=False)
    return Headers(shim(declare), made=True)


def _is_of_this_kernel(folder: Path) -> bool:
    """Whether headers are the running kernel's, as its build wrote into them."""
    try:
        generated = (folder / "include" / "generated" / "utsrelease.h").read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    found = _RELEASE.search(generated)
    return found is not None and found[1] == platform.release()


def _is_enough(folder: Path) -> bool:
    """Whether BCC takes a folder: Debian has half of its headers in another, which is for `source` to lead to."""
    return (folder / "include" / "linux" / "kconfig.h").is_file()
