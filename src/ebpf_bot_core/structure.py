"""Turns what people wrote (TOML tables, options) into typed values, and says in one line what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_mapping_structure_fn

from ebpf_bot_core.errors import EbpfBotError, PlanError
from ebpf_bot_core.nearest import did_you_mean

__all__ = ["converter", "structure"]

T = TypeVar("T")

converter: Final = cattrs.Converter(forbid_extra_keys=True)
"""Strict: unknown keys and wrong types are refused. Modules add hooks for the types that they define."""


def _exactly(value: object, wanted: type) -> Any:
    # TOML has types, so a string where a number belongs is a mistake and not something to convert.
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise TypeError(f"expected {_NAMES[wanted]}, not {value!r}")
    return value


_NAMES: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
for _wanted in _NAMES:
    converter.register_structure_hook(_wanted, _exactly)


def _is_listing(wanted: Any) -> bool:
    return get_origin(wanted) is tuple and get_args(wanted)[1:] == (Ellipsis,)


def _listing(wanted: Any) -> Callable[[object, Any], tuple[Any, ...]]:
    # By default any iterable would do, and a string would become a list of letters.
    member = get_args(wanted)[0]

    def read(value: object, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(f"expected a list, not {value!r}")
        read_member = converter.get_structure_hook(member)
        return tuple([read_member(item, member) for item in value])

    return read


converter.register_structure_hook_factory(_is_listing, _listing)


def _is_table(wanted: Any) -> bool:
    return attrs.has(wanted) or get_origin(wanted) in (Mapping, dict)


def _table(wanted: Any) -> Callable[[object, Any], Any]:
    # By default whatever is not a table fails somewhere inside cattrs, in its words and not in the user's.
    build: Callable[[Any, Any], Any]
    if attrs.has(wanted):
        build = converter.gen_structure_attrs_fromdict(wanted)
    else:
        build = make_mapping_structure_fn(wanted, converter, dict)

    def read(value: object, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a table, not {value!r}")
        return build(value, wanted)

    return read


converter.register_structure_hook_factory(_is_table, _table)


def structure(data: object, wanted: type[T], *, where: str) -> T:
    """Build a `wanted` from plain data.

    Args:
        where: what the data is, for the message: a file's name, an option's owner.

    Raises:
        PlanError: naming `where`, the key, and the nearest valid key.
    """
    if not isinstance(data, Mapping):
        raise PlanError(f"{where}: expected a table, not {type(data).__name__}")
    try:
        return converter.structure(data, wanted)
    except Exception as error:
        path, cause = _innermost(error)
        if isinstance(cause, EbpfBotError):
            raise type(cause)(f"{where}: {_at(path)}{cause.message}", hint=cause.hint) from error
        if isinstance(cause, ForbiddenExtraKeysError):
            key = min(map(str, cause.extra_fields))
            valid = [field.name for field in attrs.fields(cause.cl)]
            guess = did_you_mean(key, valid)
            known = f"known keys: {', '.join(valid)}" if valid else "it takes no keys"
            message = f"{where}: unknown key {'.'.join([*path, key])[:200]!r}"
            raise PlanError(message, hint=f"{guess}; {known}" if guess else known) from error
        if isinstance(cause, KeyError):
            raise PlanError(f"{where}: missing key {'.'.join(path) or cause.args[0]!r}") from error
        if isinstance(cause, TypeError | ValueError):
            raise PlanError(f"{where}: {_at(path)}{str(cause)[:200]}") from error
        raise


def _at(path: list[str]) -> str:
    return f"key '{'.'.join(path)}': " if path else ""


def _innermost(error: Exception) -> tuple[list[str], Exception]:
    """Return the first real cause inside cattrs's groups, and the keys that lead to it."""
    path: list[str] = []
    while isinstance(error, ClassValidationError | IterableValidationError):
        if isinstance(error, ClassValidationError):
            noted, plain = error.group_exceptions()
            error = noted[0][0] if noted else plain[0]
            path += [noted[0][1].name] if noted else []
        else:
            listed, rest = error.group_exceptions()
            error = listed[0][0] if listed else rest[0]
            path += [str(listed[0][1].index)] if listed else []
    return path, error
