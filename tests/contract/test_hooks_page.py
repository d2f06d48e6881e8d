"""Every hook stands on its page, is mentioned in a test, and is called when the page says."""

from __future__ import annotations

import inspect
import re

import click
import pytest

from ebpf_bot_core import Diagnosis, Plan, Plugins, UnifiedPipeline, hookimpl, hookspecs

PAGE = "reference/hooks.md"
HOOKS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("ebpf_bot_")}
REGISTERING = {name for name in HOOKS if name.startswith("ebpf_bot_register_")} - {
    "ebpf_bot_register_commands"
}
PLAN = """
[plan]
name = "hooks"
[[expect]]
probes = ["uprobe:/usr/bin/checkout:*"]
[stages]
injector = { name = "simulated", wait = false }
store = "memory"
"""


class Listener:
    """Implements every hook, and writes down who was called with what."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def ebpf_bot_register_injectors(self, register):
        self.calls.append(("ebpf_bot_register_injectors", register))
        register("heard-injector", object)

    @hookimpl
    def ebpf_bot_register_receivers(self, register):
        self.calls.append(("ebpf_bot_register_receivers", register))
        register("heard-receiver", object)

    @hookimpl
    def ebpf_bot_register_processors(self, register):
        self.calls.append(("ebpf_bot_register_processors", register))
        register("heard-processor", object)

    @hookimpl
    def ebpf_bot_register_stores(self, register):
        self.calls.append(("ebpf_bot_register_stores", register))
        register("heard-store", object)

    @hookimpl
    def ebpf_bot_register_policies(self, register):
        self.calls.append(("ebpf_bot_register_policies", register))
        register("heard-policy", object)

    @hookimpl
    def ebpf_bot_register_reports(self, register):
        self.calls.append(("ebpf_bot_register_reports", register))
        register("heard-report", object)

    @hookimpl
    def ebpf_bot_register_commands(self, group):
        self.calls.append(("ebpf_bot_register_commands", group))
        group.add_command(click.Command("heard"))

    @hookimpl
    def ebpf_bot_diagnose(self):
        self.calls.append(("ebpf_bot_diagnose", None))
        return [Diagnosis("heard", ok=True, found="everything")]

    @hookimpl
    def ebpf_bot_run_started(self, run):
        self.calls.append(("ebpf_bot_run_started", run))

    @hookimpl
    def ebpf_bot_step_finished(self, step):
        self.calls.append(("ebpf_bot_step_finished", step))

    @hookimpl
    def ebpf_bot_verdict_changed(self, changes):
        self.calls.append(("ebpf_bot_verdict_changed", changes))

    @hookimpl
    def ebpf_bot_run_finished(self, run, coverage):
        self.calls.append(("ebpf_bot_run_finished", (run, coverage)))

    def names(self):
        return [name for name, _ in self.calls]


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def plugins(listener):
    plugins = Plugins()
    plugins.add(listener, name="listener")
    return plugins


def test_every_hook_has_its_place_on_the_page_and_nothing_else_has(page):
    assert set(page(PAGE).headings(3)) == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_page_gives_the_hook_its_arguments(page, hook):
    section = page(PAGE).section(f"### `{hook}`")
    arguments = ", ".join(inspect.signature(HOOKS[hook]).parameters)
    assert f"def {hook}({arguments}):" in section, "the example implements the hook"


@pytest.mark.parametrize("hook", HOOKS)
def test_the_specification_has_an_example(hook):
    assert "Example:" in inspect.getdoc(HOOKS[hook])


@pytest.mark.parametrize("hook", HOOKS)
def test_some_test_mentions_the_hook(test_modules, hook):
    assert any(re.search(rf"\b{hook}\b", path.read_text()) for path in test_modules)


def test_registering_hooks_are_called_once_when_plugins_are_loaded(listener, plugins):
    assert sorted(listener.names()) == sorted(REGISTERING)
    for hook in REGISTERING:
        kind = hook.removeprefix("ebpf_bot_register_").removesuffix("s").replace("policie", "policy")
        assert f"heard-{kind}" in plugins.names(kind)


def test_commands_are_added_on_demand(listener, plugins):
    group = click.Group()
    plugins.register_commands(group)
    assert "heard" in group.commands
    assert listener.names().count("ebpf_bot_register_commands") == 1


def test_a_diagnosis_is_asked_for_on_demand(listener, plugins):
    answers = [
        each
        for name, diagnose in plugins.implementations("ebpf_bot_diagnose")
        if name == "listener"
        for each in diagnose()
    ]
    assert answers == [Diagnosis("heard", ok=True, found="everything")]
    assert listener.names().count("ebpf_bot_diagnose") == 1


def test_observers_hear_a_run_in_order(listener, plugins):
    listener.calls.clear()
    with UnifiedPipeline(Plan.parse(PLAN, where="test"), plugins=plugins) as pipeline:
        first, second = pipeline.step(), pipeline.step()
        coverage = pipeline.finish()
    names = listener.names()
    assert names[0] == "ebpf_bot_run_started"
    assert names[1] == "ebpf_bot_verdict_changed", "what finding alone has shown"
    assert names[2:4] == ["ebpf_bot_verdict_changed", "ebpf_bot_step_finished"]
    assert names[-1] == "ebpf_bot_run_finished"
    assert names.count("ebpf_bot_step_finished") == 2
    facts = dict(listener.calls)
    assert facts["ebpf_bot_step_finished"] is second
    assert facts["ebpf_bot_run_finished"][0].finished
    assert facts["ebpf_bot_run_finished"][1].totals == coverage.totals
    assert (first.number, second.number) == (1, 2)


def test_an_observer_cannot_break_a_run(listener, plugins, caplog):
    class Broken:
        @hookimpl
        def ebpf_bot_step_finished(self, step):
            raise RuntimeError("a defect")

    plugins.add(Broken(), name="broken")
    with UnifiedPipeline(Plan.parse(PLAN, where="test"), plugins=plugins) as pipeline:
        pipeline.step()
    assert "plugin broken failed to observe step_finished" in caplog.text
    assert listener.names().count("ebpf_bot_step_finished") == 1
