"""Payloads: where in a run's records everything stands, as the programs are told and as readers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Layouts
from ebpf_bot_linux.finding.usdt_arguments import MOST, Operand
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.kernel.table import fill_table
from ebpf_bot_linux.sites import Sites
from ebpf_bot_linux.streaming.contents import TEXTS, Contents

__all__ = ["Payloads"]

_NO_TEXT: Final = 0xFFFF
_PLAN: Final = np.dtype([("bytes", "<u2"), ("text", "<u2", (TEXTS,)), ("unused", "<u2", (3,))])
_OPERAND: Final = np.dtype(
    [
        ("constant", "<u8"),
        ("base", "<u2"),
        ("index", "<u2"),
        ("place", "u1"),
        ("size", "u1"),
        ("is_signed", "u1"),
        ("scale", "u1"),
    ]
)
"""`struct plan` and `struct operand` of stream.bpf.c."""
_WORD: Final = 8
_TRUNCATED: Final = "truncated"


@attrs.frozen
class _Text:
    """A text of a probe: its name, and what the program is told to find it by."""

    name: str
    where: int


@attrs.frozen(eq=False)
class Payloads:
    """The payloads of one run's records; see stream.bpf.c for their three parts.

    Attributes:
        layouts: how to read them, by row of the table.
        padded: for each layout, the offset and bytes of texts that may have rubbish behind their end.
        constants: what the programs are to be loaded with.
    """

    layouts: Layouts
    padded: tuple[tuple[tuple[int, int], ...], ...]
    constants: Mapping[str, int]
    _plans: NDArray[np.void]
    _operands: NDArray[np.void]

    @classmethod
    def of(
        cls,
        sites: Sites,
        contents: Sequence[Contents | None],
        wanted: Mapping[str, NDArray[np.bool_]],
        operands: Mapping[int, Sequence[Operand | None]],
        text_bytes: int,
    ) -> Self:
        """Lay out the records of a run.

        Args:
            contents: of each row; None for one that says nothing.
            wanted: which rows are to have the text that an argument of that name is the address of.
            operands: where the arguments of the USDT probe at a site are.
            text_bytes: how long a text may be, its end included.
        """
        known = [each for each in contents if each is not None]
        texts = _texts_of_rows(sites, contents, wanted)
        text_at = max((each.size for each in known), default=0)
        most = max(map(len, texts), default=0)
        needs_flag = most > 0 or any(each.fallible for each in known)
        flag_at = text_at + most * text_bytes
        size = flag_at + _WORD if needs_flag else flag_at
        constants = {
            "payload_size": size,
            "text_at": text_at,
            "text_size": text_bytes,
            "texts": most,
            "flag_at": flag_at if needs_flag else 0,
        }
        made: dict[Any, np.dtype[np.void] | None] = {}
        by_row = []
        for content, texts_of_row in zip(contents, texts, strict=True):
            key = id(content), texts_of_row
            if key not in made:
                made[key] = _dtype(content, texts_of_row, constants) if content else None
            by_row.append(made[key])
        layouts = Layouts.of(by_row)
        plans = _plans(sites, contents, texts)
        return cls(
            layouts,
            tuple(_padded(dtype, text_at) for dtype in layouts.dtypes),
            constants,
            plans,
            _operand_table(sites, operands),
        )

    @property
    def size(self) -> int:
        """How many bytes the payload of each record has, whether a layout says something of them or not."""
        return self.constants["payload_size"]

    @property
    def max_entries(self) -> dict[str, int]:
        """How many entries the maps are to have that belong to payloads."""
        return {"plans": len(self._plans), "operands": len(self._operands)}

    def tell(self, programs: Programs) -> None:
        """Tell the programs what each site's payload is, before any is attached."""
        fill_table(programs.map("plans"), self._plans)
        fill_table(programs.map("operands"), self._operands)


def _texts_of_rows(
    sites: Sites, contents: Sequence[Contents | None], wanted: Mapping[str, NDArray[np.bool_]]
) -> list[tuple[_Text, ...]]:
    """Return the texts of each row. Rows that share a site share its texts, since it has one kind of record."""
    texts = [
        tuple(_Text(name, where) for name, where in content.texts) if content else () for content in contents
    ]
    for name, rows in wanted.items():
        joined = rows
        while (joined != (grown := joined | sites.rows_with(sites.of_rows(joined)))).any():
            joined = grown
        for row in np.flatnonzero(joined).tolist():
            content = contents[row]
            if content is not None and name in content.names:
                value = next(value for value in content.values if value.name == name)
                texts[row] = (*texts[row], _Text(name, value.offset // _WORD))
    return texts


def _dtype(
    content: Contents, texts: Sequence[_Text], constants: Mapping[str, int]
) -> np.dtype[np.void] | None:
    taken = {text.name for text in texts}
    fields: list[tuple[str, Any, int]] = [
        (value.name, value.dtype, value.offset) for value in content.values if value.name not in taken
    ]
    at, step = constants["text_at"], constants["text_size"]
    fields += [(text.name, f"S{step}", at + i * step) for i, text in enumerate(texts)]
    if (texts or content.fallible) and _TRUNCATED not in content.names:
        fields.append((_TRUNCATED, "?", constants["flag_at"]))
    if not fields:
        return None
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype(
        {
            "names": list(names),
            "formats": list(formats),
            "offsets": list(offsets),
            "itemsize": constants["payload_size"],
        }
    )


def _padded(dtype: np.dtype[np.void], text_at: int) -> tuple[tuple[int, int], ...]:
    """Return the places of the texts among the values: the programs end the others with zeros."""
    fields = [(field[0], field[1]) for field in (dtype.fields or {}).values()]
    return tuple((offset, kind.itemsize) for kind, offset in fields if kind.kind == "S" and offset < text_at)


def _plans(
    sites: Sites, contents: Sequence[Contents | None], texts: Sequence[tuple[_Text, ...]]
) -> NDArray[np.void]:
    plans = np.zeros(sites.size, _PLAN)
    plans["text"] = _NO_TEXT
    for row, site in zip(sites.pair_row.tolist(), sites.pair_site.tolist(), strict=True):
        content = contents[row]
        if content is not None and (content.copied or texts[row]):
            plans["bytes"][site] = content.copied
            plans["text"][site, : len(texts[row])] = [text.where for text in texts[row]]
    return plans


def _operand_table(sites: Sites, operands: Mapping[int, Sequence[Operand | None]]) -> NDArray[np.void]:
    table = np.zeros((sites.size if operands else 1, MOST), _OPERAND)
    for site, listed in operands.items():
        for number, operand in enumerate(listed):
            if operand is not None:
                table[site, number] = (
                    operand.constant,
                    operand.base,
                    operand.index,
                    operand.place,
                    operand.size,
                    operand.is_signed,
                    operand.scale,
                )
    return table
