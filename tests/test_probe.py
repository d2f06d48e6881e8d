"""Names and patterns of probes, and the table that numbers them."""

from __future__ import annotations

import fnmatch
import re

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ebpf_bot_core import PatternError, ProbeKind, ProbePattern, ProbeTable, probe

KINDS = st.sampled_from(ProbeKind)
WORDS = st.text("abcxyz_019.", min_size=1, max_size=8)
WILD = st.text("abc_.*?[]!-", min_size=1, max_size=8)
PATHS = st.lists(WORDS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
COLONS = st.sampled_from(["", ":", ":a", "b:"])
FRAGMENTS = st.lists(
    st.one_of(
        KINDS.map(str), st.sampled_from([*":*?[]!/+ ", "0x", "\n", "\0", "\u202e", "é", "\ud800"]), st.text()
    ),
    max_size=8,
)


@st.composite
def patterns(draw: st.DrawFn, words: st.SearchStrategy[str] = WORDS) -> ProbePattern:
    """Draw a pattern as it comes out of parsing: paths may hold colons, names may not."""
    kind = draw(KINDS)
    if kind.in_binary:
        target = draw(PATHS) + draw(COLONS)
    else:
        target = draw(words) if kind is ProbeKind.TRACEPOINT else ""
    two = kind in (ProbeKind.USDT, ProbeKind.SOFTWARE)
    name = f"{draw(words)}:{draw(words)}" if two else draw(words)
    return ProbePattern(kind, target, name)


@pytest.mark.parametrize(
    ("text", "target", "name"),
    [
        ("uprobe:/usr/bin/gzip:deflate", "/usr/bin/gzip", "deflate"),
        ("uretprobe:libc:malloc", "libc", "malloc"),
        ("uprobe:/srv/a:b/app:main", "/srv/a:b/app", "main"),
        ("uprobe:/bin/app:_ZN3foo3barEv", "/bin/app", "_ZN3foo3barEv"),
        ("usdt:/usr/bin/python3.11:python:gc__start", "/usr/bin/python3.11", "python:gc__start"),
        ("usdt:/srv/a:b/app:python:*", "/srv/a:b/app", "python:*"),
        ("tracepoint:sched:sched_switch", "sched", "sched_switch"),
        ("rawtracepoint:sys_enter", "", "sys_enter"),
        ("kprobe:tcp_*", "", "tcp_*"),
        ("kretprobe:vfs_read", "", "vfs_read"),
        ("fentry:vfs_read", "", "vfs_read"),
        ("fexit:vfs_read", "", "vfs_read"),
        ("software:page-faults:100", "", "page-faults:100"),
        ("syscall:openat", "", "openat"),
    ],
)
def test_examples_of_every_kind(text: str, target: str, name: str) -> None:
    pattern = ProbePattern.parse(text)
    assert (pattern.kind, pattern.target, pattern.name) == (text.partition(":")[0], target, name)
    assert str(pattern) == text


@pytest.mark.parametrize("kind", ProbeKind)
def test_every_kind_says_its_form(kind: ProbeKind) -> None:
    assert kind.form.startswith(f"{kind}:")
    with pytest.raises(PatternError) as caught:
        ProbePattern.parse(f"{kind}:")
    assert kind.form in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "uprobe",
        "uprobe:",
        "uprobe::main",
        "uprobe:/usr/bin/gzip",
        "uprobe:/usr/bin/gzip:",
        "usdt:/usr/bin/python3:gc__start",
        "usdt:/usr/bin/python3::gc__start",
        "tracepoint:sched",
        "syscall:",
        "syscall:open[at",
        "syscall:open[]",
        "syscall:[!]",
        "uprobe:/a[b:c]",
        "uprobe:/usr/bin/gzip:deflate\n",
        "uprobe:/usr/bin/\0:main",
        "syscall:\ud800",
        "syscall:" + "a" * 10_000,
    ],
)
def test_malformed_patterns_are_errors_that_help(text: str) -> None:
    with pytest.raises(PatternError) as caught:
        ProbePattern.parse(text)
    assert caught.value.hint
    assert len(caught.value.message) < 250
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["main+4", "main+0x1f", "0x401000"])
def test_offsets_and_addresses_are_refused_since_they_could_corrupt_the_target(name: str) -> None:
    with pytest.raises(PatternError, match="offset"):
        ProbePattern.parse(f"uprobe:/bin/app:{name}")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("urobe", "uprobe"), ("tracepiont", "tracepoint"), ("sycall", "syscall"), ("UPROBE", ""), ("kfunc", "")],
)
def test_the_hint_names_the_nearest_kind(wrong: str, right: str) -> None:
    with pytest.raises(PatternError) as caught:
        ProbePattern.parse(f"{wrong}:x:y")
    assert (f"did you mean '{right}'?" if right else "known kinds") in caught.value.hint


@given(patterns())
def test_a_pattern_reads_back_as_itself(pattern: ProbePattern) -> None:
    assume(not (pattern.kind.in_binary and pattern.name.startswith("0x")))
    assert ProbePattern.parse(str(pattern)) == pattern
    assert pattern.is_exact
    assert pattern.target_is_exact


@given(FRAGMENTS.map("".join))
@example("uprobe:" + ":" * 50)
@example("usdt:[:]:[:]")
def test_hostile_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    try:
        pattern = ProbePattern.parse(text)
    except PatternError:
        return
    assert str(pattern) == text
    assert text.isprintable()
    assert ProbePattern.parse(str(pattern)) == pattern


@given(WILD, st.lists(WILD, max_size=6))
def test_names_match_as_a_shell_would_match_them(wild: str, names: list[str]) -> None:
    try:
        pattern = ProbePattern.parse(f"syscall:{wild}")
    except PatternError:
        return
    expected = [i for i, name in enumerate(names) if name == wild or fnmatch.fnmatchcase(name, wild)]
    if pattern.is_exact:
        expected = [i for i, name in enumerate(names) if name == wild]
    assert pattern.match_names(names) == expected


@given(patterns(words=WILD))
def test_whatever_parses_can_be_matched(pattern: ProbePattern) -> None:
    try:
        pattern = ProbePattern.parse(str(pattern))
    except PatternError:
        return
    assert pattern.match_names([]) == []
    if not pattern.is_exact:
        pattern.match_names([pattern.name, "main"])


@given(st.text("ab*?[]!", min_size=1, max_size=12))
def test_a_set_of_characters_closes_by_the_rules_of_fnmatch(text: str) -> None:
    # What fnmatch leaves open it takes for a plain "[", which would be a surprise in a pattern.
    left_open = r"\[" in fnmatch.translate(text).replace(r"[\[", "[")
    try:
        ProbePattern.parse(f"syscall:{text}")
    except PatternError:
        assert left_open
    else:
        assert not left_open


def test_a_pathological_pattern_is_matched_in_no_time() -> None:
    pattern = ProbePattern.parse("syscall:" + "*a" * 1000 + "b")
    assert pattern.match_names(["a" * 5000] * 20) == []


def test_a_literal_bracket_can_be_asked_for() -> None:
    # Go's generic functions are named so.
    pattern = ProbePattern.parse("uprobe:/bin/app:main.Max[[]go.shape.int]")
    assert pattern.match_names(["main.Max[go.shape.int]", "main.Max"]) == [0]


@given(st.lists(WORDS))
def test_a_table_numbers_names_in_their_order_each_once(names: list[str]) -> None:
    table = ProbeTable.of(names)
    assert list(table) == list(dict.fromkeys(names))
    assert table.positions(table.names).tolist() == list(range(len(table)))
    assert all(table[table.position(name)] == name and name in table for name in names)
    assert table[1:] == table.names[1:]


def test_a_table_refuses_a_name_that_stands_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        ProbeTable(("a", "a"))


def test_a_table_does_not_guess_what_it_does_not_hold() -> None:
    table = ProbeTable(("a", "b"))
    with pytest.raises(KeyError):
        table.position("c")
    with pytest.raises(KeyError):
        table.positions(["a", "c"])
    assert "c" not in table
    assert table.positions([]).dtype == np.intp


@given(
    st.builds(
        "{}:{}:{}".format,
        st.sampled_from(["uprobe", "uretprobe", "usdt", "uprob"]),
        st.text(st.sampled_from("/a:b[]*\\ \x7f\né0x+")),
        st.text(st.sampled_from("a0x1f+*?[].$@:_\né")),
    )
)
def test_the_usual_patterns_are_read_as_all_others_are(text: str) -> None:
    def read() -> ProbePattern | str:
        try:
            return ProbePattern.parse(text)
        except PatternError as error:
            return f"{error.message} {error.hint}"

    shortly = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_USUAL", re.compile(r"(?!)"))
        assert read() == shortly
