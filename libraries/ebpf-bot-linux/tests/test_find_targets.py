"""What the target of a pattern means: bare names, wildcards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ebpf_bot_linux.finding import targets
from ebpf_bot_linux.finding.finder import Finder

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "library"
    source = path.with_suffix(".c")
    source.write_text("int f(int x) { return x; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", "-o", path, source], check=True)
    return path


@pytest.fixture
def host(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some programs and libraries in directories of their own, which are all that is looked in."""
    for directory, names in {
        "first": ("tool", "libboth"),
        "second": ("tool", "libtwo.so.9", "libtwo.so.10", "libdev.so", "libdev.so.2", "libboth.so"),
    }.items():
        (tmp_path / directory).mkdir()
        for name in names:
            shutil.copy(library, tmp_path / directory / name)
    (tmp_path / "second" / "note").write_text("not a program\n")
    monkeypatch.setenv("PATH", f"relative:{tmp_path / 'first'}:{tmp_path / 'second'}:/nonexistent")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "second"))
    return tmp_path


def find(*texts: str) -> Evidence:
    return Finder().find([ProbePattern.parse(text) for text in texts])


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("tool", "first/tool"),
        ("libboth", "first/libboth"),  # programs win over libraries
        ("libboth.so", "second/libboth.so"),
        ("libtwo", "second/libtwo.so.10"),  # 10 is newer than 9
        ("libtwo.so", "second/libtwo.so.10"),
        ("libtwo.so.9", "second/libtwo.so.9"),
        ("libdev", "second/libdev.so"),  # what a linker takes for -ldev
    ],
)
def test_a_bare_name_is_found_as_a_shell_and_the_linker_would(host: Path, target: str, path: str) -> None:
    assert list(find(f"uprobe:{target}:f").probes) == [f"uprobe:{host / path}:f"]


def test_a_bare_name_is_not_looked_for_in_the_working_directory(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(host / "second")
    shutil.copy("libdev.so", "only_here")
    Path("only_here").chmod(0o644)
    (row,) = find("uprobe:only_here:f")
    assert (row.probe, row.verdict, row.reason) == (
        "uprobe:only_here:f",
        Verdict.MISSING,
        Reason.BINARY_MISSING,
    )
    assert "./only_here" in row.detail


def test_an_unknown_name_is_missing_and_the_nearest_ones_are_named(host: Path) -> None:
    (row,) = find("uprobe:libtow:f")
    assert (row.verdict, row.reason) == (Verdict.MISSING, Reason.BINARY_MISSING)
    assert "libtwo" in row.detail
    (row,) = find("uprobe:crypto:f")
    assert row.verdict is Verdict.MISSING


def test_the_linkers_cache_knows_libc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin")  # where ldconfig is not
    names = {find(f"uprobe:{target}:malloc").probes[0] for target in ("libc", "libc.so.6")}
    assert len(names) == 1
    path = Path(names.pop().split(":")[1])
    assert path.is_absolute()
    linked = subprocess.run(["ldd", "/bin/sh"], check=True, capture_output=True, text=True).stdout
    used = next(line.split()[2] for line in linked.splitlines() if "libc.so.6" in line)
    assert path == Path(used).resolve()


def test_without_ldconfig_the_usual_directories_are_searched(
    host: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = host / "usual"
    usual.mkdir()
    shutil.copy(library, usual / "libusual.so.1")
    monkeypatch.setattr(targets, "_LDCONFIG", ("/nonexistent/ldconfig",))
    monkeypatch.setattr(targets, "_LIBRARY_DIRECTORIES", (str(usual),))
    assert list(find("uprobe:libusual:f").probes) == [f"uprobe:{usual}/libusual.so.1:f"]


def test_a_wildcard_names_the_binaries_that_have_such_a_function(host: Path) -> None:
    (host / "first" / "link").symlink_to("tool")
    (host / "first" / "cut").write_bytes((host / "first" / "tool").read_bytes()[:1000])
    shutil.copy(host / "first" / "tool", host / "first" / ".hidden")
    found = find(f"uprobe:{host}/*/*t*:f")
    pending = {row.probe for row in found if row.verdict is Verdict.PENDING}
    assert pending == {
        f"uprobe:{host}/{path}:f"
        for path in (
            "first/tool",
            "first/libboth",
            "second/tool",
            "second/libboth.so",
            "second/libtwo.so.9",
            "second/libtwo.so.10",
        )
    }
    (bad,) = (row for row in found if row.verdict is not Verdict.PENDING)
    assert (bad.probe, bad.reason) == (f"uprobe:{host}/first/cut:f", Reason.MALFORMED_ELF)
    assert list(find(f"uprobe:{host}/first/.h*:f").probes) == [f"uprobe:{host}/first/.hidden:f"]


def test_a_bare_wildcard_is_matched_with_programs_and_libraries(host: Path) -> None:
    assert set(find("uprobe:libtwo*:f").probes) == {f"uprobe:{host}/second/libtwo.so.{n}:f" for n in (9, 10)}


def test_a_wildcard_that_names_nothing_is_missing_under_its_own_text(host: Path) -> None:
    for text, reason in {
        f"uprobe:{host}/nothing*:f": Reason.BINARY_MISSING,
        f"uprobe:{host}/*:f": Reason.BINARY_MISSING,  # directories only
        "uprobe:nothing_like_it*:f": Reason.BINARY_MISSING,
        f"uprobe:{host}/*/note:f": Reason.NOT_FOUND,
        f"uprobe:{host}/*/tool:no_such_function": Reason.NOT_FOUND,
    }.items():
        (row,) = find(text)
        assert (row.probe, row.verdict, row.reason) == (text, Verdict.MISSING, reason)


def test_a_path_that_exists_is_taken_as_it_is_written(host: Path) -> None:
    for name in ("a*b", "a[b]c", "a?"):
        shutil.copy(host / "first" / "tool", host / name)
    shutil.copy(host / "first" / "tool", host / "axb")
    for name in ("a*b", "a[b]c", "a?"):
        assert list(find(f"uprobe:{host}/{name}:f").probes) == [f"uprobe:{host}/{name}:f"]


def test_a_path_may_hold_colons(host: Path) -> None:
    shutil.copy(host / "first" / "tool", host / "a:b")
    finder = Finder()
    found = finder.find([ProbePattern.parse(f"uprobe:{host}/a:b:f")])
    assert list(found.probes) == [f"uprobe:{host}/a:b:f"]
    assert finder.points(found.probes) == Finder().points(found.probes)


def test_a_wildcard_that_reaches_too_far_is_refused(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"uprobe:{host}/*/*:f"
    assert len(find(text)) == 8
    for limit, value in (("_MAX_PATHS", 5), ("_MAX_ENTRIES", 9)):
        with monkeypatch.context() as patch:
            patch.setattr(targets, limit, value)
            (row,) = find(text)
        assert (row.probe, row.verdict) == (text, Verdict.REFUSED)
        assert str(value) in row.detail


def test_each_level_of_a_wildcard_counts(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going up and down again must not be a way round the limit."""
    monkeypatch.setattr(targets, "_MAX_ENTRIES", 1000)
    (row,) = find(f"uprobe:{host}/*" + "/../*" * 500 + ":f")
    assert row.verdict is Verdict.REFUSED
