"""Names that compilers give to what they make of one function: copies of it, parts of it, versions of it.

GCC names what its passes make (`ipa-cp`, `ipa-sra`, `ipa-split`, `bb-reorder`, `lto`) in gcc/symtab.cc and
gcc/cgraphclones.cc by a suffix to the symbol, `clone_function_name`; LLVM does likewise. Suffixes add up:
`f.constprop.0.isra.0.cold`. Nothing but the name tells what such a symbol is.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

import attrs

__all__ = ["NO_FAMILY", "Family", "Make", "families", "made_of", "without"]


class Make(enum.Enum):
    """What a compiler has made of a function."""

    COPY = enum.auto()
    """All of it, for certain arguments or under another name; it is called in the function's place."""
    PART = enum.auto()
    """The rest of it, called from where its beginning was inlined, and from the function itself."""
    COLD = enum.auto()
    """Blocks that rarely run, moved away and jumped to; no function."""


_SUFFIX: Final = re.compile(
    r"""\.(?:
    (constprop  # GCC: some arguments are constants
    |isra       # GCC: arguments are passed otherwise
    |part       # GCC: see Make.PART
    |lto_priv   # GCC: two files of the link have a static function of this name
    |clone      # GCC before 4.6
    |llvm       # LLVM: a static function that another module of the link uses
    |specialized  # LLVM: some arguments are constants
    |__uniq     # LLVM, -funique-internal-linkage-names
    )\.\d+
    |(cold        # GCC and LLVM: see Make.COLD
    |localalias  # GCC: the same address under a name that cannot be interposed
    |argprom     # LLVM: arguments are passed otherwise
    )(?:\.\d+)?)(?=\.|$)""",
    re.VERBOSE,
)
_CHOOSERS: Final = ("resolver", "ifunc")
"""Of a function with versions for several CPUs (`target_clones`): what chooses one of them."""


def made_of(name: str) -> tuple[str, Make] | None:
    """Return the function that a symbol was made of, and how; None for one that has its name from its source."""
    found = _SUFFIX.search(name)
    if found is None or not found.start():
        return None
    kinds = []
    at = found.start()
    while match := _SUFFIX.match(name, at):
        kinds.append(match[1] or match[2])
        at = match.end()
    if at != len(name):
        return None
    make = Make.COLD if "cold" in kinds else Make.PART if "part" in kinds else Make.COPY
    return name[: found.start()], make


@attrs.frozen
class Family:
    """The symbols that were made of one function, each ascending."""

    copies: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


NO_FAMILY: Final = Family()


def families(
    names: Iterable[str], indirect: Container[str], known: Container[str]
) -> tuple[Mapping[str, Family], frozenset[str]]:
    """Return the copies and parts of functions by the function's name, and the names of cold parts.

    Args:
        names: those of code, ascending; only those with a dot in them matter.
        indirect: the functions of several versions, whose versions are called `NAME.CPU`.
        known: all names.
    """
    copies: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    cold = []
    for name in names:
        made = made_of(name)
        if made is None:
            base, _, version = name.partition(".")
            if base in indirect and version.partition(".")[0] not in _CHOOSERS:
                copies.setdefault(base, []).append(name)
        elif made[1] is Make.COLD:
            # Go has functions called `cold` too; a part has the whole beside it.
            if name[: name.index(".cold")] in known:
                cold.append(name)
        else:
            (copies if made[1] is Make.COPY else parts).setdefault(made[0], []).append(name)
    found = {
        base: Family(tuple(copies.get(base, ())), tuple(parts.get(base, ())))
        for base in copies.keys() | parts.keys()
    }
    return found, frozenset(cold)


def without(made: Mapping[str, Family], names: Container[str]) -> Mapping[str, Family]:
    """Return families without the copies and parts of some names, and only those that have others."""

    def others(members: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(member for member in members if member not in names)

    left = {base: Family(others(family.copies), others(family.parts)) for base, family in made.items()}
    return {base: family for base, family in left.items() if family != NO_FAMILY}
