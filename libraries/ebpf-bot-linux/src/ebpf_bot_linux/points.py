"""Points: what the kernel needs to know of a probe to attach it, as the finder read it from this host."""

from __future__ import annotations

import attrs

__all__ = [
    "Binary",
    "CodePoint",
    "FentryPoint",
    "FunctionPoint",
    "KernelPoint",
    "KprobePoint",
    "Point",
    "RawTracepointPoint",
    "SoftwarePoint",
    "SyscallExitPoint",
    "SyscallPoint",
    "TracepointPoint",
    "UsdtPoint",
]


@attrs.frozen(cache_hash=True)
class Binary:
    """One ELF file as it was when it was examined.

    A uprobe follows the inode, so device, inode, time and size together tell whether the file that is there when the
    probe is attached is still the one whose offsets these are.

    Attributes:
        path: canonical, as `realpath` gives it.
        device: `st_dev`; `inode`: `st_ino`; `mtime_ns`: `st_mtime_ns`; `size`: bytes.
        segments: the executable PT_LOAD segments, each (file offset, bytes), both within the file.
        load_offset: file offset of code that runs once whenever the file is loaded and run: a program's entry point
            or a library's first initialiser. None where there is none that a uprobe could be placed on.
    """

    path: str
    device: int
    inode: int
    mtime_ns: int
    size: int
    segments: tuple[tuple[int, int], ...]
    load_offset: int | None


@attrs.frozen(weakref_slot=False)
class FunctionPoint:
    """A function's entry (uprobe) or its return (uretprobe).

    There may be a million of them, so they are kept small.

    Attributes:
        offsets: ascending file offsets, one for each address that a symbol of this name has, and each
            within one of the binary's executable segments. Those entries are left out that cannot be probed.
        on_return: whether the return is probed.
        sites: ascending; for each such address the place where a hit costs least, which runs exactly as often as the
            entry, also for entries that cannot be probed themselves. Arguments are not to be found there any more.
            Never empty; by default the entries.
    """

    binary: Binary
    offsets: tuple[int, ...]
    on_return: bool
    sites: tuple[int, ...] = attrs.field(default=attrs.Factory(lambda self: self.offsets, takes_self=True))

    @property
    def moved(self) -> int:
        """By how many bytes at most the sites are behind their entries; 0 where an entry cannot be probed itself."""
        if self.sites is self.offsets or len(self.sites) != len(self.offsets):
            return 0
        return max(site - entry for site, entry in zip(self.sites, self.offsets, strict=True))


@attrs.frozen
class UsdtPoint:
    """A probe that the authors of a binary put into it, at one or more places.

    Attributes:
        sites: ascending; of each place the file offset, within one of the binary's executable segments, and that of
            the 16-bit semaphore that is to be raised while it is probed, 0 if it has none. Never empty.
        arguments: of each place, in the same order, the text that says where the arguments are.
    """

    binary: Binary
    sites: tuple[tuple[int, int], ...]
    arguments: tuple[str, ...] = ()


@attrs.frozen
class RawTracepointPoint:
    """A tracepoint by the name that BPF_RAW_TRACEPOINT_OPEN takes; kernel 4.17."""

    name: str


@attrs.frozen
class SyscallPoint:
    """The entry of one syscall, told apart from others in a raw tracepoint program on `sys_enter`.

    Attributes:
        number: the native syscall number of this machine's architecture.
    """

    number: int


@attrs.frozen
class SyscallExitPoint:
    """The return of one syscall, told apart from others in a raw tracepoint program on `sys_exit`.

    Attributes:
        number: as for its entry.
    """

    number: int


@attrs.frozen
class TracepointPoint:
    """A tracepoint, for perf_event_open(2) with PERF_TYPE_TRACEPOINT.

    Attributes:
        id: the number in tracefs' `events/CATEGORY/NAME/id`; valid for this boot only.
        below: what fires with it, costs less, and lets go at once, where there is such a thing. It has not the
            tracepoint's fields.
    """

    id: int
    below: RawTracepointPoint | SyscallPoint | SyscallExitPoint | None = None


@attrs.frozen
class KprobePoint:
    """A function of the kernel, its entry (kprobe) or its return (kretprobe).

    Attributes:
        functions: the name; or, where several functions have it, the address of each, ascending. Never empty.
        on_return: whether the return is probed.
    """

    functions: tuple[int, ...] | tuple[str]
    on_return: bool


@attrs.frozen
class FentryPoint:
    """A function of the kernel, for a tracing program of its own on its entry (fentry) or its return (fexit).

    Attributes:
        btf_id: the function, as a type of the kernel's BTF; valid for this boot only.
        on_return: whether the return is probed.
    """

    btf_id: int
    on_return: bool


@attrs.frozen
class SoftwarePoint:
    """A software event, sampled.

    Attributes:
        event: its number, one of PERF_COUNT_SW_* of linux/perf_event.h.
        period: how many events a sample stands for; for clocks, nanoseconds.
    """

    event: int
    period: int


CodePoint = FunctionPoint | UsdtPoint
KernelPoint = (
    TracepointPoint
    | RawTracepointPoint
    | SyscallPoint
    | SyscallExitPoint
    | KprobePoint
    | FentryPoint
    | SoftwarePoint
)
Point = CodePoint | KernelPoint
"""Where a probe is attached."""
