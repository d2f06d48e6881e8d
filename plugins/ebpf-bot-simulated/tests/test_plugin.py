"""How the plugin is found, chosen and configured."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from ebpf_bot_simulated import SimulatedInjector, SimulatedOptions, SimulatedReceiver
from ebpf_bot_simulated.faults import BLIND, FAULTS
from ebpf_bot_simulated.options import CALLS

from ebpf_bot_core import BackendError, Mode, PlanError, Plugins, ProbeTable, Scope

README = Path(__file__).parents[1] / "README.md"


def test_it_is_installed_as_injector_and_receiver() -> None:
    plugins = Plugins()
    injector = plugins.get("injector", "simulated")
    assert injector.distribution.startswith("ebpf-bot-simulated ")
    assert isinstance(injector.build({"seed": 7}), SimulatedInjector)
    assert isinstance(plugins.get("receiver", "simulated").build({}), SimulatedReceiver)


def test_doctor_is_told_that_the_signals_are_made_up() -> None:
    from ebpf_bot_simulated import plugin  # noqa: PLC0415 - what the entry point names

    (diagnosis,) = plugin.ebpf_bot_diagnose()
    assert diagnosis.ok
    assert "made up" in diagnosis.found


def test_registering_does_not_import_numpy() -> None:
    # Every `ebpf-bot --help` registers; whoever does not run the backend should not pay for it.
    code = (
        "import sys; from ebpf_bot_simulated import plugin;"
        "note = lambda *a, **k: None;"
        "plugin.ebpf_bot_register_injectors(note); plugin.ebpf_bot_register_receivers(note);"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"sed": 1}, "unknown key 'sed'", "did you mean 'seed'?"),
        ({"seed": -1}, "seed must be at least 0, not -1", ""),
        ({"lose": 1.5}, "lose must be from 0 to 1, not 1.5", ""),
        ({"lose": float("nan")}, "lose must be from 0 to 1, not nan", ""),
        ({"attach_limit": -1}, "attach_limit must be at least 0", ""),
        ({"rates": {"a": -1}}, "rates: 'a' must be from 0 to 1e+12, not -1", ""),
        ({"rates": {"a": float("inf")}}, "rates: 'a' must be from 0 to 1e+12, not inf", ""),
        ({"faults": {"a": "not-fuond"}}, "faults: unknown reason 'not-fuond' for 'a'", "not-found"),
        ({"blind": {"a": "not-found"}}, "blind: unknown reason 'not-found'", "binary-replaced"),
        ({"fail_at": {"recieve": 1}}, "fail_at: unknown call 'recieve'", "receive"),
        ({"fail_at": {"receive": 0}}, "fail_at: receive = 0", "counted from 1"),
        ({"binaries": {"app": 3}}, "binaries: 'app' is not an absolute path", ""),
        ({"binaries": {"/app": 10**9}}, "binaries: '/app' must have from 0 to 10000000 functions", ""),
    ],
)
def test_wrong_options_are_errors_that_help(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plugins().get("injector", "simulated").build(options)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_readme_lists_every_option_with_its_default_and_every_word() -> None:
    text = README.read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    shown = {"None": "none", "True": "`true`"}
    defaults = attrs.asdict(SimulatedOptions())
    options = {name: shown.get(str(value), f"`{value}`") for name, value in defaults.items()}
    assert documented == options
    for word in [*FAULTS, *BLIND, *CALLS]:
        assert f"`{word}`" in text or f"{{ {word} = " in text, word


def test_the_plan_of_the_readme_is_a_valid_one() -> None:
    (plan,) = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    chosen = tomllib.loads(plan)["stages"]["injector"]
    assert chosen.pop("name") == "simulated"
    injector = Plugins().get("injector", "simulated").build(chosen)
    table = ProbeTable(("uprobe:/usr/lib/libspin.so.1:lock_try",))
    injector.open(table, scope=Scope.HOST, mode=Mode.COUNT, keep=False).close()


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    assert capsys.readouterr().out.count("uprobe:/usr/bin/checkout:authorize_payment") == 2


@pytest.mark.parametrize("call", CALLS)
def test_each_call_can_fail_as_a_whole_once(call: str) -> None:
    injector = SimulatedInjector(SimulatedOptions(fail_at={call: 2}, wait=False))
    table, receiver = ProbeTable(("syscall:read",)), SimulatedReceiver()

    def once() -> None:
        injector.find([])
        with injector.open(table, scope=Scope.HOST, mode=Mode.COUNT, keep=True) as injection:
            injection.attach(table.positions(table))
            receiver.receive(injection, 0)
            injection.inspect()
            injection.detach(table.positions(table))

    once()
    with pytest.raises(BackendError) as caught:
        once()
    assert caught.value.message.startswith("simulated: ")
    assert caught.value.hint
    assert caught.value.errno
    once()
