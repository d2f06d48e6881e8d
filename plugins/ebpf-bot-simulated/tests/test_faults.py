"""What can be wrong with probes, and when it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ebpf_bot_simulated import SimulatedInjection, SimulatedInjector, SimulatedOptions, SimulatedReceiver
from ebpf_bot_simulated.faults import FAULTS, Fault, Shown

from ebpf_bot_core import BackendError, Evidence, Mode, ProbePattern, ProbeTable, Reason, Scope, Verdict

PROBE = "uprobe:/usr/lib/libspin.so.1:lock_try"
OTHER = "uprobe:/usr/lib/libspin.so.1:queue_pop"


def injector(**options: Any) -> SimulatedInjector:
    return SimulatedInjector(SimulatedOptions(**{"wait": False, "rates": {"*": 1.0}, **options}))


def find(*patterns: str, **options: Any) -> Evidence:
    return injector(**options).find([ProbePattern.parse(text) for text in patterns])


def open_(*names: str, keep: bool = False, scope: Scope = Scope.HOST, **options: Any) -> SimulatedInjection:
    return injector(**options).open(ProbeTable(names), scope=scope, mode=Mode.COUNT, keep=keep)


def attach(injection: SimulatedInjection) -> list[tuple[Verdict, Reason]]:
    outcome = injection.attach(np.arange(len(injection.probes)))
    return [(row.verdict, row.reason) for row in outcome]


def tick(injection: SimulatedInjection) -> set[str]:
    return {signal.probe for signal in SimulatedReceiver().receive(injection, 0)}


# Finding


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("uprobe:libspin:queue_*", ["uprobe:/usr/lib/libspin.so.1:queue_push", OTHER]),
        ("uprobe:libspin.so:queue_pop", [OTHER]),
        ("uprobe:libspin.so.1:queue_pop", [OTHER]),
        ("uprobe:/usr/lib/libsp*:queue_pop", [OTHER]),
        ("uprobe:lib*:queue_pop", [OTHER]),
        ("uretprobe:checkout:mai?", ["uretprobe:/usr/bin/checkout:main"]),
        ("uprobe:/srv/of/mine:main", ["uprobe:/srv/of/mine:main"]),
        (
            "usdt:checkout:order:p*",
            ["usdt:/usr/bin/checkout:order:placed", "usdt:/usr/bin/checkout:order:paid"],
        ),
        ("tracepoint:o*:*", ["tracepoint:oom:mark_victim"]),
        ("rawtracepoint:sys_ent*", ["rawtracepoint:sys_enter"]),
        ("kprobe:tcp_conn*", ["kprobe:tcp_connect"]),
        ("fexit:vfs_w*", ["fexit:vfs_write"]),
        ("software:page-*", ["software:page-faults:100"]),
        ("syscall:pread*", ["syscall:pread64"]),
        ("syscall:something_new", ["syscall:something_new"]),
    ],
)
def test_patterns_find_what_is_there(pattern: str, names: list[str]) -> None:
    found = find(pattern)
    assert [row.probe for row in found] == names
    assert {row.verdict for row in found} == {Verdict.PENDING}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("uprobe:nosuch:main", Reason.BINARY_MISSING),
        ("uprobe:/srv/of/mine:*", Reason.BINARY_MISSING),
        ("uprobe:checkout:nosuch*", Reason.NOT_FOUND),
        ("usdt:ledger:*:*", Reason.NOT_FOUND),
        ("tracepoint:nosuch:*", Reason.NOT_FOUND),
        ("syscall:nosuch*", Reason.NOT_FOUND),
    ],
)
def test_what_is_not_there_is_missing_under_its_own_text(pattern: str, reason: Reason) -> None:
    (row,) = find(pattern)
    assert (row.probe, row.verdict, row.reason) == (pattern, Verdict.MISSING, reason)


def test_binaries_can_be_added() -> None:
    found = find("uprobe:/srv/big:*", "uprobe:big:function_1", binaries={"/srv/big": 3})
    assert [row.probe for row in found] == [f"uprobe:/srv/big:function_{i}" for i in range(3)]


def test_several_patterns_that_name_one_probe_give_one_row() -> None:
    assert len(find("uprobe:libspin:queue_pop", "uprobe:libspin:queue_p*", OTHER)) == 2


def test_a_missing_probe_is_not_matched_by_a_wildcard() -> None:
    assert OTHER not in find("uprobe:libspin:*", faults={OTHER: "not-found"}).probes
    (row,) = find("uprobe:libspin:queue_pop", faults={OTHER: "not-found"})
    assert (row.probe, row.reason) == ("uprobe:libspin:queue_pop", Reason.NOT_FOUND)


# When a fault shows


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_fault_shows_when_it_would_on_a_real_host(fault: Fault) -> None:
    faults = {"uprobe:*:lock_*": fault.reason.code}
    (row,) = find(PROBE, faults=faults)
    if fault.shown is Shown.FINDING:
        assert (row.verdict, row.reason, row.detail) == (fault.verdict, fault.reason, fault.detail)
        assert fault.verdict in (Verdict.MISSING, Verdict.EXCLUDED, Verdict.REFUSED)
    else:
        assert row.verdict is Verdict.PENDING
    injection = open_(PROBE, OTHER, faults=faults)
    outcome, other = attach(injection)
    assert other == (Verdict.SILENT, Reason.NONE)
    if fault.shown is Shown.RUNNING:
        assert outcome == (Verdict.SILENT, Reason.NONE)
    else:
        assert outcome == (Verdict.REFUSED, fault.reason)
    assert [tick(injection) for _ in range(3)] == [{OTHER}, set(), set()]


def test_every_refusal_has_a_detail() -> None:
    assert all(fault.detail for fault in FAULTS.values() if fault.shown is not Shown.RUNNING)


def test_the_limit_counts_what_is_attached() -> None:
    names = [f"syscall:s{i}" for i in range(5)]
    injection = open_(*names, attach_limit=2, faults={"syscall:s0": "verifier-rejected"})
    silent, full = (Verdict.SILENT, Reason.NONE), (Verdict.REFUSED, Reason.ATTACH_LIMIT)
    assert attach(injection) == [(Verdict.REFUSED, Reason.VERIFIER_REJECTED), silent, silent, full, full]
    assert attach(injection)[1:] == [silent, silent, full, full]
    injection.detach(np.array([1]))
    assert [(r.verdict, r.reason) for r in injection.attach(np.array([4, 3]))] == [silent, full]
    assert tick(injection) == {"syscall:s2", "syscall:s4"}


def test_blind_from_the_start() -> None:
    injection = open_(PROBE, OTHER, blind={"*:lock_*": "unsupported-instruction"}, keep=True)
    assert attach(injection) == [(Verdict.SILENT, Reason.NONE)] * 2
    assert not (injection.inspect().columns["verdict"] == Verdict.BLIND).any()
    assert tick(injection) == {OTHER}
    blind, other = injection.inspect()
    assert (blind.verdict, blind.reason) == (Verdict.BLIND, Reason.UNSUPPORTED_INSTRUCTION)
    assert blind.detail
    assert other.verdict is Verdict.PENDING


def test_a_binary_that_is_replaced_while_the_run_is_on() -> None:
    injection = open_(PROBE, OTHER, blind={PROBE: "binary-replaced"}, blind_after=2, keep=True)
    attach(injection)
    assert [tick(injection) for _ in range(4)] == [{PROBE, OTHER}, {PROBE, OTHER}, {OTHER}, {OTHER}]
    blind, _ = injection.inspect()
    assert (blind.verdict, blind.reason) == (Verdict.BLIND, Reason.BINARY_REPLACED)


def test_a_probe_that_was_never_attached_is_not_shown_to_be_blind() -> None:
    injection = open_(PROBE, OTHER, blind={PROBE: "binary-replaced"})
    injection.attach(np.array([1]))
    tick(injection)
    assert [row.verdict for row in injection.inspect()] == [Verdict.PENDING] * 2


# Misuse


def test_nothing_fires_for_a_command_that_was_not_followed() -> None:
    injection = open_(PROBE, scope=Scope.COMMAND, keep=True)
    attach(injection)
    injection.fire(np.array([0]))
    assert tick(injection) == set()
    assert injection.inspect().columns["opportunities"].tolist() == [0]
    with injection.follow():
        pass
    assert tick(injection) == {PROBE}


def test_one_command_is_followed_at_a_time() -> None:
    injection = open_(PROBE)
    with injection.follow(), pytest.raises(BackendError, match="followed"), injection.follow():
        pass
    with injection.follow():
        pass
