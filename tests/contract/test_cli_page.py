"""The page on the command line has every command, argument and option, and none that is not there."""

from __future__ import annotations

import click
import pytest

from ebpf_bot_core.cli.group import _group

PAGE = "reference/cli.md"
GROUP = _group()
CORE = sorted(
    name for name, command in GROUP.commands.items() if "ebpf_bot_core" in command.callback.__module__
)


def words(parameter: click.Parameter) -> str:
    """Return a parameter as the page writes it: `-o, --output PATH`, `PLAN`."""
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name
    assert isinstance(parameter, click.Option)
    value = "" if parameter.is_flag else f" {parameter.make_metavar(click.Context(GROUP))}"
    return ", ".join(parameter.opts) + value


def test_commands(page):
    assert sorted(page(PAGE).headings(2)) == sorted(
        ["Options of every command", *(f"ebpf-bot {c}" for c in CORE)]
    )


@pytest.mark.parametrize("command", CORE)
def test_options(page, command):
    expected = {words(each) for each in GROUP.commands[command].params}
    assert set(page(PAGE).table(f"## ebpf-bot {command}")) == expected


def test_options_of_the_group(page):
    expected = {words(each) for each in GROUP.params} | {"-h, --help"}
    assert set(page(PAGE).table("## Options of every command")) == expected


@pytest.mark.parametrize("command", CORE)
def test_defaults(page, command):
    table = page(PAGE).table(f"## ebpf-bot {command}")
    for parameter in GROUP.commands[command].params:
        default = parameter.default
        if isinstance(parameter, click.Option) and isinstance(default, str | int) and not parameter.is_flag:
            assert f"`{default}" in table[words(parameter)][-1], f"{words(parameter)}: default {default}"


@pytest.mark.parametrize("command", CORE)
def test_commands_have_examples_in_their_help(command):
    assert "Examples:" in (GROUP.commands[command].help or "")
