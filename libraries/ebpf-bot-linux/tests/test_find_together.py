"""Many patterns in one search: what they name together is what they name one by one, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ebpf_bot_linux.finding import binaries
from ebpf_bot_linux.finding.files import open_file
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.refusals import UnprobeableError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core import Evidence, ProbePattern

Build = Callable[..., Path]
Row = tuple[str, int, int, str]

FUNCTIONS = """
.section .note.GNU-stack,"",@progbits
.text
.globl main
.type main, @function
main: ret
.type "slices.Sort[int]", @function
"slices.Sort[int]": push %rbp
ret
.type one, @function
.type alias, @function
one:
alias: push %rbx
ret
.type locked, @function
locked: lock incl (%rdi)
ret
.type "main.(*Server).Close", @function
"main.(*Server).Close": ret
.type "*", @function
"*": ret
.type "a:b", @function
"a:b": ret
.type gone.part.0, @function
gone.part.0: push %rbx
ret
.data
.type "data", @object
data: .quad 1
"""
NAMES = [
    "main",
    "slices.Sort[int]",
    "slices.Sort*",
    "one",
    "alias",
    "locked",
    "main.(*Server).Close",
    "main*",
    "*",
    "[a-m]*",
    "?n?",
    "gone",
    "gone.part.0",
    "data",
    "wrong",
    "wrong*",
    "mian",
    "é",
    "\U000e0100*",
]
KERNEL = ["syscall:read", "syscall:open*", "syscall:raed", "software:page-faults", "software:faults:100"]


def _one_by_one(finder: Finder, patterns: Sequence[ProbePattern]) -> list[Row]:
    """What the searches for each pattern say, each probe where it is first named, by the closest look at it."""
    best: dict[str, Row] = {}
    for pattern in patterns:
        for row in _rows(finder.find([pattern])):
            known = best.get(row[0])
            best[row[0]] = row if known is None or row[2] > known[2] else known
    return list(best.values())


def _rows(evidence: Evidence) -> list[Row]:
    return [(row.probe, int(row.verdict), int(row.reason), row.detail) for row in evidence]


@pytest.fixture
def texts(build: Build, tmp_path: Path) -> list[str]:
    """Patterns of many sorts, for targets of many sorts."""
    first = build(FUNCTIONS, name="first", language="s")
    second = build("int one(int x) { return x; } int main(void) { return one(0); }", name="second")
    (tmp_path / "link").symlink_to(first)
    (tmp_path / "text").write_text("no program")
    targets = [first, second, tmp_path / "link", tmp_path / "text", tmp_path / "none", f"{tmp_path}/[fst]*"]
    patterns = [
        f"{kind}:{target}:{name}" for kind in ("uprobe", "uretprobe") for target in targets for name in NAMES
    ]
    return [*patterns, *KERNEL]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_patterns_name_together_what_they_name_one_by_one(texts: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(texts), max_size=25))
    patterns = [ProbePattern.parse(text) for text in chosen]
    finder = Finder(debug_root=Path("/nonexistent"))
    assert _rows(finder.find(patterns)) == _one_by_one(finder, patterns)


def test_all_patterns_at_once_name_what_they_name_one_by_one(texts: list[str]) -> None:
    patterns = [ProbePattern.parse(text) for text in texts]
    finder = Finder(debug_root=Path("/nonexistent"))
    together = finder.find(patterns)
    assert _rows(together) == _one_by_one(finder, patterns)
    assert len(set(together.probes)) == len(together) > 100


def test_each_file_is_opened_once_a_search_however_its_patterns_are_mixed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [build(FUNCTIONS, name=name, language="s") for name in ("first", "second")]
    opened: list[str] = []

    def counting(path: str) -> object:
        opened.append(path)
        return open_file(path)

    monkeypatch.setattr(binaries, "open_file", counting)
    mixed = [
        ProbePattern.parse(f"uprobe:{path}:{name}") for name in ("one", "main", "w", "m*") for path in paths
    ]
    Finder(debug_root=Path("/nonexistent")).find(mixed)
    assert sorted(opened) == sorted(map(str, paths))


def test_thousands_of_wrong_names_do_not_get_a_suggestion_each(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 2000
    bodies = "".join(f".type function_{i:04},@function\nfunction_{i:04}: ret\n" for i in range(many))
    path = build(
        f'.section .note.GNU-stack,"",@progbits\n.text\n.globl main\nmain: ret\n{bodies}',
        name="many",
        language="s",
    )
    patterns = [ProbePattern.parse(f"uprobe:{path}:functoin_{i:04}") for i in range(many)]
    found = Finder(debug_root=Path("/nonexistent")).find(patterns)
    suggested = [row.detail.endswith("?") for row in found]
    assert len(found) == many
    assert suggested[0]
    assert sum(suggested) < many / 10
    assert not suggested[-1]


def test_points_are_in_the_order_of_their_names(build: Build) -> None:
    paths = [build(FUNCTIONS, name=name, language="s") for name in ("first", "second")]
    finder = Finder(debug_root=Path("/nonexistent"))
    names = [
        f"{kind}:{path}:{name}"
        for name in ("one", "none", "main")
        for path in paths
        for kind in ("uprobe", "uretprobe")
    ]
    names.insert(3, "syscall:read")
    together, alone = finder.points(names), [finder.points([name])[0] for name in names]
    assert [str(point) for point in together] == [str(point) for point in alone]
    assert sum(isinstance(point, UnprobeableError) for point in together) == 4
