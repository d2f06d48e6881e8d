"""Words on the command line: how they are read, and how a shell completes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from ebpf_bot_core.plan import Percent, StageChoice

__all__ = ["DURATION", "PERCENT", "PROBE", "STORE", "plugin_name"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", str(value))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a duration such as 30s, 500ms, 5m or 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class _Percent(click.ParamType):
    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Percent:
        from ebpf_bot_core.plan import Percent  # noqa: PLC0415 - `--help` must not wait for it

        if isinstance(value, Percent):
            return value
        try:
            return Percent.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Store(click.ParamType):
    name = "name:path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> StageChoice:  # noqa: ARG002
        from ebpf_bot_core.plan import StageChoice  # noqa: PLC0415 - likewise

        if isinstance(value, StageChoice):
            return value
        name, colon, path = str(value).partition(":")
        return StageChoice(name, {"path": path} if colon else {})

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if ":" in incomplete:
            name, _, path = incomplete.partition(":")
            return [CompletionItem(path, type="file", help=name)]
        return plugin_name("store").shell_complete(ctx, param, incomplete)


class _Probe(click.ParamType):
    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from ebpf_bot_core.probe import ProbeKind  # noqa: PLC0415 - likewise

        return [
            CompletionItem(f"{kind}:", help=kind.form) for kind in ProbeKind if kind.startswith(incomplete)
        ]


class _PluginName(click.ParamType):
    name = "name"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from ebpf_bot_core.plugins import Plugins  # noqa: PLC0415 - only a completing shell needs it

        return [CompletionItem(name) for name in Plugins().names(self._kind) if name.startswith(incomplete)]


def plugin_name(kind: str) -> click.ParamType:
    """Return the type of an option that names a plugin; whether it is installed is checked when it is used."""
    return _PluginName(kind)


DURATION = _Duration()
PERCENT = _Percent()
STORE = _Store()
PROBE = _Probe()
