"""Words on the command line: how they are read, and how a shell completes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from ebpf_bot_core.plan import Percent, StageChoice

__all__ = ["complete_plugin", "complete_probe", "complete_store", "duration", "percent", "store"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def duration(text: str) -> float:
    """Read `30s`, `500ms`, `5m`, `1h` or plain seconds; return seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", text)
    if match is None or float(match[1]) == 0:
        raise click.BadParameter(f"{text!r} is not a duration such as 30s, 500ms, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def percent(text: str) -> Percent:
    """Read `85` or `85%`."""
    from ebpf_bot_core.plan import Percent  # noqa: PLC0415 - `--help` must not wait for it

    try:
        return Percent.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def store(text: str) -> StageChoice:
    """Read `NAME` or `NAME:PATH`."""
    from ebpf_bot_core.plan import StageChoice  # noqa: PLC0415 - likewise

    name, colon, path = text.partition(":")
    return StageChoice(name, {"path": path} if colon else {})


def complete_plugin(kind: str) -> Completer:
    """Return what completes the names registered for a kind of plugin."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415 - only a completing shell needs it

        return [CompletionItem(name) for name in Plugins().names(kind) if name.startswith(incomplete)]

    return complete


def complete_store(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a store's name, then a path."""
    name, colon, path = incomplete.partition(":")
    if colon:
        return [CompletionItem(path, type="file", help=name)]
    return complete_plugin("store")(ctx, param, incomplete)


def complete_probe(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the kind of a probe pattern."""
    from ebpf_bot_core.probe import ProbeKind  # noqa: PLC0415 - likewise

    return [CompletionItem(f"{kind}:", help=kind.form) for kind in ProbeKind if kind.startswith(incomplete)]
