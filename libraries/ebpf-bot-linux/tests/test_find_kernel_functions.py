"""kprobe, fentry and software probes: what is found of them, and what is said of those that cannot be."""

from __future__ import annotations

import errno
import re
import struct
import subprocess
from pathlib import Path

import pytest
from ebpf_bot_linux.finding import btf, function_probes
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.kernel.kernel_error import ENOTSUPP, KernelError
from ebpf_bot_linux.points import FentryPoint, KprobePoint, SoftwarePoint
from ebpf_bot_linux.privileges import Privileges
from hypothesis import given
from hypothesis import strategies as st

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict

KALLSYMS = """\
ffffffff81000010 T do_open
ffffffff81000020 t twin
ffffffff81000030 t hidden_from_tracing
ffffffff81000040 t split.constprop.0
ffffffff81000050 D data
ffffffff81000060 t twin\t[module]
ffffffff81000070 t of_module\t[module]
"""
TRACEABLE = "do_open\ntwin\ntwin [module]\nof_module [module]\nsplit.constprop.0\n"
TYPES = (
    (1, 0x0100_0000, 4, 0),  # an int
    (0, 0x0400_0002, 8, 1, 1, 0, 5, 1, 32),  # a struct of two members
    (0, 0x0D00_0002, 1, 1, 1, 1, 1),  # a function prototype of two arguments
    (5, 0x0C00_0000, 3),  # function `do_open`
    (13, 0x0C00_0000, 3),  # function `twin`
)


def kernel_btf() -> bytes:
    types = b"".join(struct.pack(f"={len(words)}I", *words) for words in TYPES)
    strings = b"\0int\0do_open\0twin\0"
    return (
        struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
    )


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finder:
    """Finds what a kernel of five functions has, which can probe all that may be probed."""
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    (tmp_path / "tracing" / "events").mkdir(parents=True)
    (tmp_path / "tracing" / "available_filter_functions").write_text(TRACEABLE)
    (tmp_path / "mounts").write_text(f"31 22 0:12 / {tmp_path}/tracing rw - tracefs tracefs rw\n")
    (tmp_path / "btf").mkdir()
    (tmp_path / "btf" / "vmlinux").write_bytes(kernel_btf())
    monkeypatch.setattr(function_probes, "has_device", lambda _: True)
    monkeypatch.setattr(function_probes, "try_fentry", lambda _: None)
    monkeypatch.setattr(function_probes, "try_program", lambda: None)
    return Finder(
        btf_root=tmp_path / "btf", kallsyms=tmp_path / "kallsyms", tracefs=Tracefs(tmp_path / "mounts")
    )


def find(finder: Finder, *texts: str) -> Evidence:
    return finder.find([ProbePattern.parse(text) for text in texts])


@pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
def test_kprobes_are_the_functions_that_the_kernel_lists(finder: Finder, kind: str) -> None:
    found = find(finder, f"{kind}:*")
    assert list(found.probes) == [
        f"{kind}:{name}" for name in ("do_open", "of_module", "split.constprop.0", "twin")
    ]
    assert {row.verdict for row in found} == {Verdict.PENDING}
    back = kind == "kretprobe"
    assert finder.points([f"{kind}:do_open", f"{kind}:twin"]) == [
        KprobePoint(("do_open",), back),
        KprobePoint((0xFFFFFFFF81000020, 0xFFFFFFFF81000060), back),
    ]


def test_all_names_of_a_function_are_one_place(finder: Finder, tmp_path: Path) -> None:
    """tracefs lists one name for each address."""
    (tmp_path / "kallsyms").write_text(KALLSYMS + "ffffffff81000010 t alias_of_do_open\n")
    assert {row.verdict for row in find(finder, "kprobe:alias_of_do_open")} == {Verdict.PENDING}
    assert "kprobe:alias_of_do_open" in find(finder, "kprobe:*").probes
    assert finder.points(["kprobe:alias_of_do_open"]) == finder.points(["kprobe:do_open"])


@pytest.mark.parametrize("kind", ["fentry", "fexit"])
def test_fentries_are_those_that_btf_describes(finder: Finder, kind: str) -> None:
    rows = {row.probe: row for row in find(finder, f"{kind}:*", f"{kind}:of_module")}
    assert {name.partition(":")[2]: row.verdict for name, row in rows.items()} == {
        "do_open": Verdict.PENDING,
        "twin": Verdict.REFUSED,
        "of_module": Verdict.REFUSED,
    }
    assert "several functions" in rows[f"{kind}:twin"].detail
    assert rows[f"{kind}:of_module"].reason is Reason.NO_BTF
    assert finder.points([f"{kind}:do_open"]) == [FentryPoint(4, kind == "fexit")]
    refused = finder.points([f"{kind}:twin", f"{kind}:of_module"])
    assert all(isinstance(each, UnprobeableError) for each in refused)


@pytest.mark.parametrize("kind", ["kprobe", "fexit"])
def test_what_cannot_be_probed_has_its_reason(finder: Finder, kind: str) -> None:
    for name, verdict, reason, word in (
        ("hidden_from_tracing", Verdict.REFUSED, Reason.ATTACH_FAILED, "notrace"),
        ("split", Verdict.MISSING, Reason.NOT_FOUND, "split.constprop.0"),
        ("do_opn", Verdict.MISSING, Reason.NOT_FOUND, "'do_open'"),
        ("nothing*", Verdict.MISSING, Reason.NOT_FOUND, "nothing*"),
    ):
        (row,) = find(finder, f"{kind}:{name}")
        assert (row.probe, row.verdict, row.reason) == (f"{kind}:{name}", verdict, reason)
        assert word in row.detail


def test_namesakes_whose_addresses_are_hidden_are_refused(finder: Finder, tmp_path: Path) -> None:
    hidden = re.sub(r"^\w+", "0" * 16, KALLSYMS, flags=re.MULTILINE)
    (tmp_path / "kallsyms").write_text(hidden)
    rows = {row.probe: row for row in find(finder, "kprobe:twin", "kprobe:do_open")}
    assert (rows["kprobe:twin"].verdict, rows["kprobe:twin"].reason) == (Verdict.REFUSED, Reason.PERMISSION)
    assert rows["kprobe:do_open"].verdict is Verdict.PENDING


def test_without_tracefs_the_functions_are_all_that_kallsyms_lists(finder: Finder, tmp_path: Path) -> None:
    (tmp_path / "tracing" / "available_filter_functions").unlink()
    assert "kprobe:hidden_from_tracing" in find(finder, "kprobe:*").probes
    assert "kprobe:data" not in find(finder, "kprobe:*").probes


def test_a_kernel_without_kprobes_refuses_each(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_probes, "has_device", lambda _: False)
    answer = KernelError("attach kprobes", errno.EOPNOTSUPP)
    monkeypatch.setattr(function_probes, "try_kprobe_multi", lambda: answer)
    found = find(finder, "kprobe:*")
    assert len(found) == 4
    assert {(row.verdict, row.reason) for row in found} == {(Verdict.REFUSED, Reason.KERNEL_CONFIG)}
    assert isinstance(finder.points(["kprobe:do_open"])[0], UnprobeableError)


@pytest.mark.parametrize("answer", [None, errno.EPERM])
def test_a_kernel_that_has_the_link_or_may_not_be_asked_refuses_none(
    finder: Finder, monkeypatch: pytest.MonkeyPatch, answer: int | None
) -> None:
    monkeypatch.setattr(function_probes, "has_device", lambda _: False)
    monkeypatch.setattr(
        function_probes, "try_kprobe_multi", lambda: answer and KernelError("attach kprobes", answer)
    )
    assert {row.verdict for row in find(finder, "kprobe:*")} == {Verdict.PENDING}


@pytest.mark.parametrize(
    ("answer", "lockdown", "reason"),
    [
        (errno.EPERM, "integrity", Reason.LOCKDOWN),
        (errno.EPERM, "confidentiality", Reason.LOCKDOWN),
        (errno.EPERM, "none", Reason.PERMISSION),
        (errno.EPERM, "", Reason.PERMISSION),
        (ENOTSUPP, "", Reason.KERNEL_CONFIG),
    ],
)
def test_why_a_kernel_takes_no_fentry(
    finder: Finder, monkeypatch: pytest.MonkeyPatch, answer: int, lockdown: str, reason: Reason
) -> None:
    here = Privileges(frozenset({"CAP_SYS_ADMIN"}), filtered=False, lockdown=lockdown)
    monkeypatch.setattr(function_probes.Privileges, "here", lambda: here)
    monkeypatch.setattr(function_probes, "try_fentry", lambda _: KernelError("load an eBPF program", answer))
    (row,) = find(finder, "fentry:do_open")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, reason)


def test_who_may_load_nothing_is_not_told_of_a_lockdown(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = KernelError("load an eBPF program", errno.EPERM)
    monkeypatch.setattr(function_probes, "try_fentry", lambda _: answer)
    monkeypatch.setattr(function_probes, "try_program", lambda: answer)
    (row,) = find(finder, "fentry:do_open")
    assert row.verdict is Verdict.PENDING


def test_without_btf_there_is_no_fentry(finder: Finder, tmp_path: Path) -> None:
    (tmp_path / "btf" / "vmlinux").unlink()
    (row,) = find(finder, "fentry:*")
    assert (row.probe, row.verdict, row.reason) == ("fentry:*", Verdict.REFUSED, Reason.NO_BTF)


@given(st.data())
def test_damaged_btf_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(kernel_btf())
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "damaged_btf"
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert all(name and number > 0 for name, number in btf.functions(file).items())


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the kernel has no BTF")
def test_the_kernels_functions_have_the_ids_that_bpftool_gives_them() -> None:
    dump = subprocess.run(
        ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    listed: dict[str, set[int]] = {}
    for number, name in re.findall(r"^\[(\d+)\] FUNC '(\S+)'", dump, re.MULTILINE):
        listed.setdefault(name, set()).add(int(number))
    found = btf.functions(Path("/sys/kernel/btf/vmlinux"))
    assert len(found) > 10_000
    assert found.keys() == listed.keys()
    assert all(number in listed[name] for name, number in found.items())


def test_software_events_have_bpftraces_names_and_periods() -> None:
    finder = Finder()
    found = find(finder, "software:*")
    assert len(found) == 9
    assert {
        "software:page-faults:100",
        "software:context-switches:1000",
        "software:cpu-clock:1000000",
        "software:major-faults:1",
    } < set(found.probes)
    assert list(find(finder, "software:faults:7", "software:cs", "software:*-faults:3").probes) == [
        "software:page-faults:7",
        "software:context-switches:1000",
        *(f"software:{name}-faults:3" for name in ("alignment", "emulation", "major", "minor", "page")),
    ]
    assert finder.points(["software:page-faults:7", "software:cpu-clock:5"]) == [
        SoftwarePoint(2, 7),
        SoftwarePoint(0, 5),
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("software:page-fault", "'page-faults'"),
        ("software:page-faults:0", "period"),
        ("software:page-faults:-1", "period"),
        ("software:page-faults:many", "period"),
        ("software:page-faults:9223372036854775808", "period"),
        ("software:page-faults:1:1", "period"),
        ("software:bpf-output", "bpf-output"),
    ],
)
def test_a_software_event_that_is_not_there_is_missing(text: str, word: str) -> None:
    finder = Finder()
    (row,) = find(finder, text)
    assert (row.probe, row.verdict, row.reason) == (text, Verdict.MISSING, Reason.NOT_FOUND)
    assert word in row.detail
    assert isinstance(finder.points([text])[0], UnprobeableError)
