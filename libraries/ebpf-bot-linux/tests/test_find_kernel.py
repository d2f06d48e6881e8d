"""Tracepoints, raw tracepoints and syscalls, and the kinds that are not served."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from ebpf_bot_linux import unseen
from ebpf_bot_linux.finding import kernel_names
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.kernel_probes import SyscallProbes
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.points import RawTracepointPoint, SyscallExitPoint, SyscallPoint, TracepointPoint

from ebpf_bot_core import Evidence, ProbeKind, ProbePattern, Reason, Verdict

PLUGIN = Path(__file__).parents[1]


def find(finder: Finder, *texts: str) -> Evidence:
    return finder.find([ProbePattern.parse(text) for text in texts])


@pytest.fixture
def mounted(tmp_path: Path) -> Tracefs:
    """What looks like a mounted tracefs, at a path with a space in it."""
    mount = tmp_path / "trace fs"
    for name, number in {
        "sched/sched_switch": 7,
        "sched/sched_wakeup": 8,
        "tcp/tcp_probe": 9,
        "ftrace/print": 5,
    }.items():
        event = mount / "events" / name
        event.mkdir(parents=True)
        (event / "id").write_text(f"{number}\n")
        (event.parent / "enable").write_text("0\n")
    (mount / "events" / "header_page").write_text("")
    (tmp_path / "events" / "of_an_instance" / "event").mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    escaped = str(mount).replace(" ", "\\040")
    mounts.write_text(
        "22 1 8:1 / / rw - ext4 /dev/root rw\n"
        f"30 22 0:12 /instances/one {tmp_path} rw - tracefs tracefs rw\n"
        f"31 22 0:12 / {escaped} rw,relatime shared:7 - tracefs tracefs rw\n"
    )
    return Tracefs(mounts)


def test_tracepoints_are_listed_from_a_mount_that_is_there(mounted: Tracefs, tmp_path: Path) -> None:
    finder = Finder(tracefs=mounted, btf_root=tmp_path / "none")
    found = find(finder, "tracepoint:*:*")
    assert list(found.probes) == [
        "tracepoint:sched:sched_switch",
        "tracepoint:sched:sched_wakeup",
        "tracepoint:tcp:tcp_probe",
    ]
    assert {row.verdict for row in found} == {Verdict.PENDING}
    assert finder.points(found.probes) == [TracepointPoint(7), TracepointPoint(8), TracepointPoint(9)]
    assert list(find(finder, "tracepoint:s*:*up").probes) == ["tracepoint:sched:sched_wakeup"]
    finder.close()
    finder.close()


def test_a_tracepoint_that_is_not_there_is_missing_and_the_nearest_is_named(mounted: Tracefs) -> None:
    finder = Finder(tracefs=mounted)
    for text, near in {
        "tracepoint:sched:sched_swich": "sched_switch",
        "tracepoint:shed:sched_switch": "'sched'",
        "tracepoint:sched:nothing*": "",
        "tracepoint:../events/sched:sched_switch": "",
    }.items():
        (row,) = find(finder, text)
        assert (row.probe, row.verdict, row.reason) == (text, Verdict.MISSING, Reason.NOT_FOUND)
        assert near in row.detail
    for name in ("tracepoint:sched:nothing", "tracepoint:..:..", "tracepoint:sched:../sched/sched_switch"):
        (refusal,) = finder.points([name])
        assert isinstance(refusal, UnprobeableError)


def test_a_tracepoint_whose_module_has_gone_is_a_refusal(mounted: Tracefs, tmp_path: Path) -> None:
    finder = Finder(tracefs=mounted)
    (name,) = find(finder, "tracepoint:tcp:*").probes
    (tmp_path / "trace fs/events/tcp/tcp_probe/id").unlink()
    (refusal,) = finder.points([name])
    assert isinstance(refusal, UnprobeableError)
    assert "any more" in refusal.detail


def open_descriptors() -> set[str]:
    """Return the numbers and the targets of this process's descriptors."""
    return {f"{entry.name} {entry.readlink()}" for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def _privileged() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = re.search(r"^CapEff:\s*(\w+)", status, re.MULTILINE)
    seccomp = re.search(r"^Seccomp:\s*(\d)", status, re.MULTILINE)
    return bool(effective and int(effective[1], 16) & 1 << 21 and seccomp and seccomp[1] == "0")


@pytest.mark.live
def test_the_kernels_tracepoints_are_listed_without_a_mount(tmp_path: Path) -> None:
    """Needs CAP_SYS_ADMIN; leaves the mounts of the process as they were."""
    if not _privileged():
        pytest.skip("opening tracefs unseen needs CAP_SYS_ADMIN and no seccomp filter")
    before = Path("/proc/self/mountinfo").read_text()
    descriptors = open_descriptors()
    nowhere = tmp_path / "mountinfo"
    nowhere.touch()
    finder = Finder(tracefs=Tracefs(nowhere))
    found = find(finder, "tracepoint:*:*")
    names = set(found.probes)
    assert len(names) > 500
    assert {"tracepoint:sched:sched_switch", "tracepoint:sched:sched_process_exit"} <= names
    assert not any(name.startswith("tracepoint:ftrace:") for name in names)
    points = finder.points(found.probes)
    ids = [point.id for point in points if isinstance(point, TracepointPoint)]
    assert len(set(ids)) == len(ids) == len(names)
    assert len([point for point in points if point.below is None]) < len(names) / 10
    assert all(number > 0 for number in ids)
    assert Path("/proc/self/mountinfo").read_text() == before
    finder.close()
    assert open_descriptors() == descriptors
    # The kernel's own list, read by an unshared mount as another program would.
    script = "mount -t tracefs none /mnt && cat /mnt/available_events"
    listed = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert {f"tracepoint:{line}" for line in listed.splitlines()} == names


UNPRIVILEGED = """
import os
from pathlib import Path
from ebpf_bot_core import ProbePattern
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.tracefs import Tracefs
finder = Finder(tracefs=Tracefs(Path("/nonexistent")))
if os.geteuid() == 0:
    os.setgroups([])
    os.seteuid(65534)
for text in ("tracepoint:sched:*", "rawtracepoint:sched_switch"):
    (row,) = finder.find([ProbePattern.parse(text)])
    print(row.probe, row.verdict.label, row.reason.code, row.detail, sep="|")
"""


def test_without_privileges_tracepoints_are_refused_and_raw_ones_are_the_way_out() -> None:
    done = subprocess.run([sys.executable, "-c", UNPRIVILEGED], check=True, capture_output=True, text=True)
    traced, raw = (line.split("|") for line in done.stdout.splitlines())
    assert traced[:3] == ["tracepoint:sched:*", "refused", "permission"]
    assert "rawtracepoint:" in traced[3]
    assert raw[:2] == ["rawtracepoint:sched_switch", "pending"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (1, Reason.PERMISSION),
        (13, Reason.PERMISSION),
        (19, Reason.KERNEL_CONFIG),
        (38, Reason.KERNEL_CONFIG),
        (12, Reason.UNREADABLE),
    ],
)
def test_each_way_in_which_tracefs_fails_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, reason: Reason
) -> None:
    def failing(*arguments: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(unseen, "_system_call", failing)
    finder = Finder(tracefs=Tracefs(tmp_path / "no mounts"), btf_root=tmp_path)
    (row,) = find(finder, "tracepoint:sched:sched_switch")
    assert (row.probe, row.verdict, row.reason) == (
        "tracepoint:sched:sched_switch",
        Verdict.REFUSED,
        reason,
    )
    (row,) = find(finder, "rawtracepoint:sched_switch")
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NO_BTF)
    (refusal,) = finder.points(["tracepoint:sched:sched_switch"])
    assert isinstance(refusal, UnprobeableError)


def btf(*names: str, magic: int = 0xEB9F, types: bytes = b"\0btf_trace_in_the_types\0") -> bytes:
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    header = struct.pack("=HBBIIIII", magic, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


def test_raw_tracepoints_are_the_strings_of_the_kernels_btf(tmp_path: Path, mounted: Tracefs) -> None:
    (tmp_path / "btf").mkdir()
    (tmp_path / "btf" / "vmlinux").write_bytes(
        btf(
            "btf_trace_sys_enter",
            "not_btf_trace_this",
            "btf_trace_sched_switch",
            "btf_trace_",
            "btf_trace_no.t",
        )
    )
    (tmp_path / "btf" / "module").write_bytes(btf("btf_trace_of_module", "btf_trace_sys_enter"))
    (tmp_path / "btf" / "other").write_bytes(btf("btf_trace_other_magic", magic=0x1234))
    (tmp_path / "btf" / "short").write_bytes(b"\x9f\xeb\x01")
    (tmp_path / "btf" / "directory").mkdir()
    finder = Finder(btf_root=tmp_path / "btf", tracefs=mounted)
    found = find(finder, "rawtracepoint:*")
    assert list(found.probes) == [
        f"rawtracepoint:{name}" for name in ("of_module", "sched_switch", "sys_enter")
    ]
    assert finder.points(found.probes)[0] == RawTracepointPoint("of_module")
    (row,) = find(finder, "rawtracepoint:sys_entr")
    assert (row.verdict, row.reason) == (Verdict.MISSING, Reason.NOT_FOUND)
    assert "sys_enter" in row.detail


def test_a_tracepoint_is_attached_below_its_perf_event_where_that_is_the_same(
    tmp_path: Path, mounted: Tracefs
) -> None:
    """One that two categories have may be an event that a user has made, of that name, on something else."""
    events = tmp_path / "trace fs" / "events"
    for number, name in enumerate(
        [
            "mine/sched_wakeup",
            "kprobes/user_made",
            "syscalls/sys_enter_newfstat",
            "syscalls/sys_exit_openat",
            "syscalls/sys_enter_uname",
            "syscalls/sys_enter_of_tomorrow",
        ],
        start=20,
    ):
        (events / name).mkdir(parents=True)
        (events / name / "id").write_text(f"{number}\n")
    (tmp_path / "btf").mkdir()
    (tmp_path / "btf" / "vmlinux").write_bytes(btf("btf_trace_sched_switch", "btf_trace_sched_wakeup"))
    finder = Finder(btf_root=tmp_path / "btf", tracefs=mounted)
    fstat, openat = (kernel_names.syscalls(os.uname().machine)[name] for name in ("fstat", "openat"))
    assert finder.points(
        [
            "tracepoint:sched:sched_switch",
            "tracepoint:sched:sched_wakeup",
            "tracepoint:kprobes:user_made",
            "tracepoint:syscalls:sys_enter_newfstat",
            "tracepoint:syscalls:sys_exit_openat",
            "tracepoint:syscalls:sys_enter_uname",
            "tracepoint:syscalls:sys_enter_of_tomorrow",
        ]
    ) == [
        TracepointPoint(7, RawTracepointPoint("sched_switch")),
        TracepointPoint(8),
        TracepointPoint(21),
        TracepointPoint(22, SyscallPoint(fstat)),
        TracepointPoint(23, SyscallExitPoint(openat)),
        TracepointPoint(24),
        TracepointPoint(25),
    ]


def test_without_btf_raw_tracepoints_are_those_of_tracefs(tmp_path: Path, mounted: Tracefs) -> None:
    finder = Finder(btf_root=tmp_path / "none", tracefs=mounted)
    assert list(find(finder, "rawtracepoint:*").probes) == [
        f"rawtracepoint:{name}" for name in ("sched_switch", "sched_wakeup", "tcp_probe")
    ]


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the kernel has no BTF")
def test_the_kernels_raw_tracepoints_are_the_typedefs_that_bpftool_lists() -> None:
    dump = subprocess.run(
        ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    typedefs = set(re.findall(r"TYPEDEF 'btf_trace_(\w+)'", dump))
    listed = set(kernel_names.raw_tracepoints())
    assert len(typedefs) > 300
    assert typedefs <= listed
    modules = len(list(Path("/sys/kernel/btf").iterdir())) - 1
    assert modules or typedefs == listed


def test_syscalls_are_found_by_name_with_the_numbers_of_this_machine() -> None:
    finder = Finder()
    found = find(finder, "syscall:openat", "syscall:open*at*", "syscall:opnat")
    rows = {row.probe: row for row in found}
    assert set(rows) == {
        "syscall:openat",
        "syscall:openat2",
        "syscall:open_by_handle_at",
        "syscall:open_tree_attr",
        "syscall:opnat",
    }
    assert (rows["syscall:opnat"].verdict, rows["syscall:opnat"].reason) == (
        Verdict.MISSING,
        Reason.NOT_FOUND,
    )
    assert "'openat'" in rows["syscall:opnat"].detail
    assert finder.points(["syscall:openat2"]) == [SyscallPoint(437)]
    (refusal,) = finder.points(["syscall:opnat"])
    assert isinstance(refusal, UnprobeableError)
    assert len(find(finder, "syscall:*")) > 300


def test_the_tables_agree_with_the_headers_of_this_machine() -> None:
    """The compiler's own headers may be older than the tables, but never say anything else."""
    source = "#include <sys/syscall.h>\n"
    macros = subprocess.run(
        ["gcc", "-E", "-dM", "-"], input=source, check=True, capture_output=True, text=True
    )
    expected = {
        name: int(n) for name, n in re.findall(r"#define __NR_(\w+) (\d+)$", macros.stdout, re.MULTILINE)
    }
    table = kernel_names.syscalls(os.uname().machine)
    assert len(expected) > 200
    assert expected.items() <= table.items()


def test_the_table_of_the_other_machine_is_told_apart() -> None:
    """Numbers that every table of aarch64 has, from asm-generic/unistd.h."""
    table = kernel_names.syscalls("aarch64")
    assert {"openat": 56, "read": 63, "execve": 221, "clone3": 435, "bpf": 280}.items() <= table.items()
    assert "open" not in table
    assert SyscallProbes(Suggestions(), "aarch64").points(["syscall:openat"]) == [SyscallPoint(56)]
    pattern = ProbePattern.parse("syscall:openat")
    (row,) = SyscallProbes(Suggestions(), "s390x").find([pattern]).evidence()
    assert (row.probe, row.verdict, row.reason) == ("syscall:openat", Verdict.REFUSED, Reason.NO_BACKEND)


def test_the_script_that_wrote_the_tables_reads_headers(tmp_path: Path) -> None:
    header = tmp_path / "unistd_64.h"
    header.write_text(
        "#ifndef X\n#define X\n#define __NR_second 2\n#define __NR_first 1\n#define __NR_no (3)\n#endif\n"
    )
    script = PLUGIN / "scripts" / "syscall_table.py"
    done = subprocess.run([sys.executable, script, header], check=True, capture_output=True, text=True)
    assert done.stdout == "1 first\n2 second\n"


def test_every_kind_has_an_answer() -> None:
    for kind in ProbeKind:
        text = (
            f"{kind}:/nonexistent:a:b"
            if kind.in_binary or kind is ProbeKind.TRACEPOINT
            else f"{kind}:nonexistent"
        )
        (row,) = find(Finder(), text)
        assert row.verdict in (Verdict.MISSING, Verdict.REFUSED)
    (refusal,) = Finder().points(["nonsense"])
    assert isinstance(refusal, UnprobeableError)
    assert len(find(Finder())) == 0
