"""Plugins are loaded each in isolation: a broken one is shown with its error and takes no one else down."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Mapping
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

from ebpf_bot_core import PlanError, PluginError, Plugins, hookimpl
from ebpf_bot_core.registry import Registration, Registry
from ebpf_bot_core.structure import structure


@attrs.frozen
class Inner:
    size: int = 1


@attrs.frozen
class Options:
    path: str
    rate: float = 1.0
    names: tuple[str, ...] = ()
    table: Mapping[str, int] = attrs.field(factory=dict)
    inner: Inner = Inner()


class Store:
    def __init__(self, options: Options | None = None) -> None:
        self.options = options


def storing(*names: str) -> types.SimpleNamespace:
    """Return a plugin that registers a store under each name."""

    @hookimpl
    def ebpf_bot_register_stores(register: Callable[..., None]) -> None:
        for name in names:
            register(name, Store, options=Options)

    return types.SimpleNamespace(ebpf_bot_register_stores=ebpf_bot_register_stores)


NUMBERS = itertools.count()
"""For names of modules, since Python keeps what it has imported from one test to the next."""


class Installed:
    """Puts modules on the import path, each with the entry point of a distribution."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def plugin(self, name: str, source: str, *, entry: str = "", of: str = "") -> EntryPoint:
        module = f"installed_plugin_{next(NUMBERS)}"
        (self._folder / f"{module}.py").write_text(f"from ebpf_bot_core import hookimpl\n{source}")
        info = self._folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {of or name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ebpf_bot]\n{name} = {module}{entry}\n")
        (found,) = Distribution.at(info).entry_points
        return found


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    monkeypatch.syspath_prepend(tmp_path)
    return Installed(tmp_path)


GOOD = """
@hookimpl
def ebpf_bot_register_stores(register):
    register("good", dict)
"""


def other(name: str) -> str:
    return GOOD.replace("good", name)


# What a plugin brings


def test_a_plugin_is_listed_with_what_it_provides_and_who_brought_it(installed: Installed) -> None:
    plugins = Plugins([installed.plugin("mine", GOOD, of="ebpf-bot-mine")])
    loaded = plugins.loaded[-1]
    assert (loaded.name, loaded.distribution, loaded.error) == ("mine", "ebpf-bot-mine 1.0", "")
    assert loaded.provides == ["store good"]
    assert plugins.get("store", "good").build({}) == {}


def test_the_cores_own_parts_are_registered_like_anyones() -> None:
    plugins = Plugins([])
    own = {provided for loaded in plugins.loaded for provided in loaded.provides}
    assert {"policy priority", "policy random", "policy round-robin"} <= own
    assert {loaded.distribution for loaded in plugins.loaded} == {"ebpf-bot-core"}


def test_an_object_given_in_code_is_a_plugin_too() -> None:
    plugins = Plugins([])
    plugins.add(storing("mine"), name="embedded")
    assert plugins.get("store", "mine").build({"path": "x"}).options == Options("x")


def test_an_object_given_in_code_that_is_broken_is_an_error_at_once() -> None:
    plugins = Plugins([])
    with pytest.raises(PluginError, match="'embedded' cannot be used"):
        plugins.add(types.SimpleNamespace(ebpf_bot_register_stors=hookimpl(lambda: None)), name="embedded")
    plugins.add(storing("mine"), name="embedded")


# What can be wrong with one

BROKEN = {
    "an import that fails": ("import no_such_module", "", "ModuleNotFoundError: No module named"),
    "an import that raises": ("raise RuntimeError('no luck')", "", "RuntimeError: no luck"),
    "an import that exits": ("raise SystemExit(3)", "", "SystemExit: 3"),
    "a syntax error": ("def", "", "SyntaxError"),
    "an attribute that is not there": ("", ":plugin", "AttributeError"),
    "a class": ("class Plugin: pass", ":Plugin", "TypeError: the entry point names a class"),
    "a misspelt hook": (
        "@hookimpl\ndef ebpf_bot_register_store(register): pass",
        "",
        "did you mean 'ebpf_bot_register_stores'?",
    ),
    "a hook with wrong arguments": (
        "@hookimpl\ndef ebpf_bot_register_stores(register, path): pass",
        "",
        "Argument(s) {'path'} are declared in the hookimpl but can not be found",
    ),
    "a hook that raises": (
        GOOD.replace("good", "half") + "    raise KeyError('path')",
        "",
        "KeyError: 'path'",
    ),
    "a registration that says too little": (
        "@hookimpl\ndef ebpf_bot_register_stores(register): register('half')",
        "",
        "TypeError",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plugin_is_listed_and_leaves_the_others_usable(installed: Installed, what: str) -> None:
    source, entry, expected = BROKEN[what]
    entries = [
        installed.plugin("a-good", GOOD),
        installed.plugin("broken", source, entry=entry),
        installed.plugin("c-good", other("later")),
    ]
    plugins = Plugins(entries)
    errors = {loaded.name: loaded.error for loaded in plugins.loaded[-3:]}
    assert errors["a-good"] == errors["c-good"] == ""
    assert expected in errors["broken"]
    assert "\n" not in errors["broken"]
    assert plugins.get("store", "good").build({}) == plugins.get("store", "later").build({}) == {}
    assert "half" not in plugins.stores
    assert all(name != "broken" for name, _ in plugins.implementations("ebpf_bot_register_stores"))


def test_only_a_run_that_asks_for_a_broken_plugin_is_stopped_and_told_why(installed: Installed) -> None:
    plugins = Plugins([installed.plugin("parquet", "raise OSError('no disk')", of="ebpf-bot-parquet")])
    with pytest.raises(PluginError, match="parquet failed to load: OSError: no disk") as caught:
        plugins.get("store", "parquet")
    assert "ebpf-bot-parquet 1.0" in caught.value.hint


def test_a_command_that_cannot_be_added_breaks_its_plugin_alone(installed: Installed) -> None:
    command = """
import click
@hookimpl
def ebpf_bot_register_commands(group):
    group.add_command(click.Command("NAME"))
"""
    entries = [
        installed.plugin("a", command.replace("NAME", "one")),
        installed.plugin("b", "@hookimpl\ndef ebpf_bot_register_commands(group): group.nonsense()"),
        installed.plugin("c", command.replace("NAME", "two")),
    ]
    plugins, group = Plugins(entries), click.Group()
    plugins.register_commands(group)
    assert sorted(group.commands) == ["one", "two"]
    assert [bool(loaded.error) for loaded in plugins.loaded[-3:]] == [False, True, False]


# Names that are taken


def test_a_name_that_two_plugins_register_names_both_and_serves_neither(installed: Installed) -> None:
    entries = [
        installed.plugin("first", GOOD, of="ebpf-bot-first"),
        installed.plugin(
            "second", other("spare") + GOOD.replace("stores", "processors"), of="ebpf-bot-second"
        ),
        installed.plugin("third", GOOD.replace("stores", "reports") + GOOD, of="ebpf-bot-third"),
    ]
    plugins = Plugins(entries)
    first, second, third = plugins.loaded[-3:]
    assert not first.error
    assert not second.error
    both = "store 'good' is registered by both ebpf-bot-first 1.0 and ebpf-bot-third 1.0"
    assert both in third.error
    with pytest.raises(PluginError, match=both) as caught:
        plugins.get("store", "good")
    assert "EBPF_BOT_DISABLE_PLUGINS" in caught.value.hint
    assert "good" not in plugins.reports, "a broken plugin leaves nothing behind"
    assert plugins.get("processor", "good").distribution == "ebpf-bot-second 1.0"


def test_a_plugin_that_registers_a_name_twice_is_broken(installed: Installed) -> None:
    plugins = Plugins([installed.plugin("mine", other("x").rstrip() + "\n    register('x', list)\n")])
    assert "registered by both mine 1.0 and mine 1.0" in plugins.loaded[-1].error
    assert "x" not in plugins.stores


def test_two_plugins_of_one_name_do_not_harm_the_first(installed: Installed) -> None:
    entries = [
        installed.plugin("same", GOOD, of="ebpf-bot-first"),
        installed.plugin("same", other("spare"), of="ebpf-bot-second"),
    ]
    plugins = Plugins(entries)
    first, second = plugins.loaded[-2:]
    assert not first.error
    assert "the name 'same' is taken by ebpf-bot-first 1.0" in second.error
    assert plugins.get("store", "good").build({}) == {}
    assert "spare" not in plugins.stores


# What the environment lets through


@pytest.mark.parametrize(
    ("only", "never", "expected"),
    [
        ("", "", {"file", "simulated", "sqlite"}),
        ("simulated", "", {"simulated"}),
        (" simulated , sqlite,", "", {"simulated", "sqlite"}),
        ("", "simulated", {"file", "sqlite"}),
        ("simulated,sqlite", "sqlite", {"simulated"}),
        ("no-such", "", set()),
    ],
)
def test_the_environment_allows_and_denies(
    monkeypatch: pytest.MonkeyPatch, only: str, never: str, expected: set[str]
) -> None:
    found = [EntryPoint(name, "types", "ebpf_bot") for name in ("sqlite", "simulated", "file")]
    monkeypatch.setattr("ebpf_bot_core.plugins.entry_points", lambda group: found)
    monkeypatch.setenv("EBPF_BOT_PLUGINS", only)
    monkeypatch.setenv("EBPF_BOT_DISABLE_PLUGINS", never)
    names = {loaded.name for loaded in Plugins().loaded if loaded.distribution != "ebpf-bot-core"}
    assert names == expected


def test_what_is_denied_is_not_even_imported(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = installed.plugin("evil", f"open({str(tmp_path / 'seen')!r}, 'w').close()")
    monkeypatch.setattr("ebpf_bot_core.plugins.entry_points", lambda group: [entry])
    monkeypatch.setenv("EBPF_BOT_DISABLE_PLUGINS", "evil")
    Plugins()
    assert not (tmp_path / "seen").exists()
    monkeypatch.delenv("EBPF_BOT_DISABLE_PLUGINS")
    Plugins()
    assert (tmp_path / "seen").exists()


# Hooks that observe


def test_a_hook_is_passed_what_it_asks_for_and_no_more() -> None:
    plugins, seen = Plugins([]), []

    @hookimpl
    def ebpf_bot_run_finished(coverage: Any) -> None:
        seen.append(coverage)

    plugins.add(types.SimpleNamespace(ebpf_bot_run_finished=ebpf_bot_run_finished), name="observer")
    ((name, function),) = plugins.implementations("ebpf_bot_run_finished")
    function(run="a run", coverage="a map")
    assert (name, seen) == ("observer", ["a map"])


# The registry and the options that a plan gives


def test_an_unknown_name_is_an_error_that_names_the_nearest_and_all() -> None:
    registry: Registry[Store] = Registry("store")
    with pytest.raises(PluginError, match="unknown store 'sqlite'") as caught:
        registry.get("sqlite")
    assert "installed: none" in caught.value.hint
    for name in ("sqlite", "file"):
        registry.add(Registration(name, Store, None, "d 1"))
    with pytest.raises(PluginError) as caught:
        registry.get("sqlit")
    assert "did you mean 'sqlite'?" in caught.value.hint
    assert "installed: file, sqlite" in caught.value.hint
    assert "sqlite" in registry
    assert [registration.name for registration in registry] == ["sqlite", "file"]


def test_options_become_an_instance_of_the_registered_class() -> None:
    registration = Registration("mine", Store, Options, "d 1")
    given = {"path": "x", "rate": 2, "names": ["a"], "table": {"k": 1}, "inner": {"size": 3}}
    assert registration.build(given).options == Options("x", 2.0, ("a",), {"k": 1}, Inner(3))


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({}, "mine: missing key 'path'", ""),
        ({"path": "x", "rat": 1}, "mine: unknown key 'rat'", "did you mean 'rate'?; known keys: path, rate"),
        ({"path": "x", 7: 1}, "mine: unknown key '7'", "known keys: path"),
        ({"path": 1}, "mine: key 'path': expected a string, not 1", ""),
        ({"path": "x", "rate": "fast"}, "mine: key 'rate': expected a number, not 'fast'", ""),
        ({"path": "x", "rate": True}, "mine: key 'rate': expected a number, not True", ""),
        ({"path": "x", "names": "abc"}, "mine: key 'names': expected a list, not 'abc'", ""),
        ({"path": "x", "names": ["a", 1]}, "expected a string, not 1", ""),
        ({"path": "x", "table": ["k"]}, "mine: key 'table': expected a table, not ['k']", ""),
        ({"path": "x", "table": {"k": "v"}}, "mine: key 'table.k': expected a whole number, not 'v'", ""),
        ({"path": "x", "inner": 3}, "mine: key 'inner': expected a table, not 3", ""),
        ({"path": "x", "inner": {"sise": 3}}, "mine: unknown key 'inner.sise'", "did you mean 'size'?"),
        ({"path": "x", "inner": {"size": 1.5}}, "mine: key 'inner.size': expected a whole number", ""),
    ],
)
def test_wrong_options_are_errors_that_name_the_key(options: Any, message: str, hint: str) -> None:
    for _ in range(2):  # the second time from what the converter has kept of the first
        with pytest.raises(PlanError) as caught:
            Registration("mine", Store, Options, "d 1").build(options)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_what_takes_no_options_refuses_any() -> None:
    registration = Registration("plain", Store, None, "d 1")
    assert registration.build({}).options is None
    with pytest.raises(PlanError, match="plain: unknown key 'path'") as caught:
        registration.build({"path": "x"})
    assert caught.value.hint == "it takes no keys"


@pytest.mark.parametrize("data", [None, 3, "x", [], [("path", "x")]])
def test_options_that_are_no_table_are_refused(data: object) -> None:
    with pytest.raises(PlanError, match="mine: expected a table"):
        structure(data, Options, where="mine")


def test_a_long_wrong_value_is_cut_short() -> None:
    with pytest.raises(PlanError) as caught:
        structure({"path": "x", "rate": "y" * 10_000}, Options, where="mine")
    assert len(caught.value.message) < 300
