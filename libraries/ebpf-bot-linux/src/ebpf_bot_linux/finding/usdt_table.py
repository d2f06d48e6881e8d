"""The USDT probes of one binary by name, read from the notes that the macros of sys/sdt.h leave in it.

Each place where a probe is has a note in the section `.note.stapsdt`, as systemtap's wiki page
"UserSpaceProbeImplementation" describes it: its name is `stapsdt`, its type 3, and its descriptor holds three addresses
as wide as those of the file (the place, the link-time address of the section `.stapsdt.base`, and the semaphore, 0 if
there is none), and then three texts, each ended by a zero byte: the provider, the name, and where the arguments are, which
`usdt_arguments` understands. Tools that move a binary's addresses (prelink) leave the notes alone, so both addresses are moved by as much as
`.stapsdt.base` is elsewhere now. pyelftools takes the descriptor for a build-id, since those are of type 3 too.

A semaphore is a 16-bit counter in a writable part of the file; the kernel counts it up in each process while a probe is
attached, and programs may ask it whether to prepare the arguments, or whether to run the probe at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind
from ebpf_bot_linux.finding.damage import ElfError
from ebpf_bot_linux.finding.elf import Elf, Segment, file_offsets
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.instructions import nops_in
from ebpf_bot_linux.finding.notes import USDT_NOTES, notes
from ebpf_bot_linux.finding.spelling import can_spell
from ebpf_bot_linux.finding.standings import Standing

__all__ = ["UsdtTable", "read_usdt"]

_BASE: Final = ".stapsdt.base"
_OWNER: Final = b"stapsdt\0"
_TYPE: Final = 3
_ADDRESSES: Final = {32: struct.Struct("<3I"), 64: struct.Struct("<3Q")}
"""By the class of the file; only little-endian files get here."""
_ADDRESS_SPACE: Final = 1 << 64
_MAX_NOTES: Final = 4 << 20
"""Bytes of notes; one takes about 80, so some 50,000 places."""
_MAX_NAME: Final = 4096
"""Bytes of a provider and a name, and of the arguments, together; what is longer is no name."""


@attrs.frozen(eq=False)
class UsdtTable:
    """The USDT probes of a binary.

    Attributes:
        names: `PROVIDER:NAME` of each, ascending.
        standing: `Standing` of each name, that of its best site, uint8, shape (len(names),).
        sites: of each name the file offset of every place of it, inside an executable segment, and of its semaphore,
            inside a writable one, 0 if it has none; ascending, and only those that can be probed.
        arguments: of each of these places what its note says of the arguments.
        unnameable: how many places have a name that no probe name can spell.
    """

    names: tuple[str, ...]
    standing: NDArray[np.uint8]
    sites: tuple[tuple[tuple[int, int], ...], ...]
    arguments: tuple[tuple[str, ...], ...]
    unnameable: int
    unseen: str = attrs.field(init=False, default="")
    _rows: dict[str, int] = attrs.field(init=False, repr=False)

    @_rows.default
    def _number(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    def rows(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the row of each of some names, -1 for those that are not there."""
        get = self._rows.get
        return np.fromiter((get(name, -1) for name in names), np.intp, len(names))

    def standings(self, _: ProbeKind) -> NDArray[np.uint8]:
        """Return the `Standing` of each name."""
        return self.standing

    def sites_of(self, name: str) -> tuple[tuple[int, int], ...]:
        """Return where `name` can be probed; empty if nowhere."""
        row = self._rows.get(name)
        return () if row is None else self.sites[row]

    def arguments_of(self, name: str) -> tuple[str, ...]:
        """Return what the notes say of the arguments of `name`, in the order of `sites_of`."""
        row = self._rows.get(name)
        return () if row is None else self.arguments[row]

    @property
    def count(self) -> int:
        """How many names there are."""
        return len(self.names)


def read_usdt(file: OpenFile, elf: Elf, segments: tuple[Segment, ...]) -> UsdtTable:
    """Read the USDT probes of a binary; a `Read`.

    Raises:
        ElfError, EOFError: the notes are damaged, or larger than the limit above.
    """
    unnameable = 0
    names: list[str] = []
    addresses: list[tuple[int, int]] = []
    texts: list[str] = []
    for raw, arguments, pair in _records(file, elf):
        name = _spoken(raw)
        if name:
            names.append(name)
            addresses.append(pair)
            texts.append(arguments.decode("ascii", "replace"))
        else:
            unnameable += 1
    place, semaphore = np.array(addresses, np.uint64).reshape(-1, 2).T
    offset, inside = file_offsets(place, [s for s in segments if s.executable])
    raised, writable = file_offsets(semaphore, [s for s in segments if s.writable])
    raised[semaphore == 0] = 0
    # The kernel takes 16 bits at an even place.
    armed = (semaphore == 0) | (writable & (raised % np.uint64(2) == 0) & (raised != 0))
    nop = np.zeros(len(names), np.bool_)
    places, which = np.unique(offset[inside], return_inverse=True)
    nop[inside] = nops_in(file, elf.machine)(places)[which]
    standing = np.select(
        [~inside, ~nop, ~armed], [Standing.ASTRAY, Standing.MISPLACED, Standing.UNARMED], Standing.CODE
    )
    best: dict[str, int] = {}
    sites: dict[str, dict[tuple[int, int], str]] = {}
    for name, at, counter, stands, text in zip(
        names, offset.tolist(), raised.tolist(), standing.tolist(), texts, strict=True
    ):
        best[name] = max(best.get(name, 0), stands)
        good = sites.setdefault(name, {})
        if stands == Standing.CODE:
            good.setdefault((at, counter), text)
    known = sorted(best)
    return UsdtTable(
        tuple(known),
        np.array([best[name] for name in known], np.uint8),
        tuple(tuple(sorted(sites[name])) for name in known),
        tuple(tuple(text for _, text in sorted(sites[name].items())) for name in known),
        unnameable,
    )


def _records(file: OpenFile, elf: Elf) -> Iterator[tuple[bytes, bytes, tuple[int, int]]]:
    """Yield from each note `PROVIDER:NAME`, the arguments, and the addresses of the place and of its semaphore."""
    section = elf.section(USDT_NOTES)
    if section is None:
        return
    if section.size > _MAX_NOTES:
        raise ElfError("its notes of USDT probes are larger than any")
    layout, base = _ADDRESSES[elf.bits], elf.section(_BASE)
    for owner, kind, descriptor in notes(file.read(section.offset, section.size), little_endian=True):
        if owner != _OWNER or kind != _TYPE:
            continue
        address, linked_base, semaphore = layout.unpack_from(descriptor)
        moved = base.address - linked_base if base and linked_base else 0
        texts = descriptor[layout.size : layout.size + _MAX_NAME].split(b"\0", 2)
        name = b":".join(texts[:2]) if len(texts) > 2 else b""  # noqa: PLR2004 - both have an end
        arguments = texts[-1].partition(b"\0")[0]
        moved_semaphore = (semaphore + moved) % _ADDRESS_SPACE if semaphore else 0
        yield name, arguments, ((address + moved) % _ADDRESS_SPACE, moved_semaphore)


def _spoken(raw: bytes) -> str:
    """Return a name as a probe's name spells it, empty where none can."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return text if can_spell(ProbeKind.USDT, text) else ""
