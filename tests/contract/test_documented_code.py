"""What the documentation shows runs, and prints what the documentation says it prints.

In a fenced block:
    console            is parsed: its commands and options exist
    console "simulated" is run in an empty directory, and its output compared
    python             is run, all blocks of a page in one namespace; a `text "output"` block after it is its stdout
    python, toml, bash "examples/FILE"   is an excerpt of that file
    toml "FILE"        is written to that directory first

Times, ids and what names the host are compared by their shape alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import attrs
import click
import pytest

from ebpf_bot_core.cli.group import _group

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("libraries/*/README.md"),
        *ROOT.glob("plugins/*/README.md"),
    ]
)
FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SHAPES = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "BOOT"),
    (r"\b\d+\.\d+ s\b", "SECONDS"),
    (r'"(seconds|live_seconds)": [\d.e-]+', r'"\1": SECONDS'),
    (r'"(steps|opportunities)": \d+', r'"\1": N'),
    (r'(kernel(?:": ")?) ?[\w.+-]+', r"\1 KERNEL"),
    (r" +$", ""),
]


@attrs.frozen
class Block:
    language: str
    title: str
    text: str
    follows: str = ""
    """The text of a block titled `output` right behind it."""

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with its output."""
        found = []
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while output and _goes_on(command):
                more, _, output = output.partition("\n")
                command = f"{command}\n{more}"
            found.append((command.replace("\\\n", " "), output))
        return found


def _goes_on(command: str) -> bool:
    """Say whether a command has another line: it ends with a backslash, or in the middle of a quotation."""
    try:
        shlex.split(command)
    except ValueError:
        return True
    return command.endswith("\\")


def blocks(path: Path) -> list[Block]:
    found = [
        Block(match[2], match[3] or "", textwrap.dedent(match[4]))
        for match in FENCE.finditer(path.read_text(encoding="utf-8"))
    ]
    for i, block in enumerate(found[:-1]):
        if found[i + 1].title == "output":
            found[i] = attrs.evolve(block, follows=found[i + 1].text)
    return found


def shape(text: str) -> str:
    for pattern, word in SHAPES:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text.strip()


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def path(request):
    return request.param


def test_fences_are_closed_and_have_a_language(path):
    text = path.read_text(encoding="utf-8")
    fences = re.findall(r"^ *```(.*)$", text, re.MULTILINE)
    assert len(fences) % 2 == 0
    assert len(FENCE.findall(text)) == len(fences) // 2
    assert all(fences[::2])


def test_commands_exist(path):
    """Every `ebpf-bot` command line that is shown is one that our parser takes."""
    for block in blocks(path):
        if block.language != "console":
            continue
        for command, _ in block.commands:
            for words in _simple_commands(command):
                if words[:1] == ["ebpf-bot"]:
                    _parse(words[1:])


def _simple_commands(line: str) -> list[list[str]]:
    """Return the commands of a shell line, each as its words, without variables, redirections and the like."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) <= set("|&;()<>"):
            redirected = word[0] in "<>"
            if not redirected:
                commands.append([])
        elif redirected:
            redirected = False
        elif commands[-1] or not re.fullmatch(r"[A-Z_]+=.*|sudo|time|exec", word):
            commands[-1].append(word)
    return commands


def _parse(words: list[str]) -> None:
    group = _group()
    try:
        outer = group.make_context("ebpf-bot", list(words))
        name, command, rest = group.resolve_command(outer, [*outer._protected_args, *outer.args])
        assert command is not None
        command.make_context(name, rest, parent=outer)
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        pass  # --help, --version


def test_simulated_commands_print_what_is_shown(path, tmp_path):
    """Every block that is marked as simulated is run; the real ones would differ on every host."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "EBPF_BOT_"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ENABLE_OTLP": "false",
    }
    for block in blocks(path):
        if block.language == "toml" and block.title and not block.title.startswith("examples/"):
            (tmp_path / block.title).write_text(block.text)
        if (block.language, block.title) != ("console", "simulated"):
            continue
        (tmp_path / "examples").exists() or (tmp_path / "examples").symlink_to(ROOT / "examples")
        for command, output in block.commands:
            done = subprocess.run(
                ["bash", "-c", f"{{ {command}\n}} 2>&1"],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert shape(done.stdout) == shape(output), command


def test_python_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": path.stem}
    for block in blocks(path):
        if block.language != "python" or block.title:
            continue
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            exec(compile(block.text, str(path), "exec"), namespace)
        if block.follows:
            assert shape(stdout.getvalue()) == shape(block.follows)


def test_excerpts_stand_in_the_files_that_they_name(path):
    for block in blocks(path):
        if block.title.startswith("examples/"):
            file = ROOT / block.title
            whole = "\n".join(line.rstrip() for line in file.read_text(encoding="utf-8").splitlines())
            for part in re.split(r"^ *\.\.\.\n", block.text, flags=re.MULTILINE):
                wanted = part.strip("\n")
                spots = [whole, textwrap.dedent(whole)]
                indented = [textwrap.indent(wanted, " " * depth, str.strip) for depth in (0, 4, 8)]
                assert any(each in spot for each in indented for spot in spots), f"{block.title}: {wanted}"


def test_links_lead_to_files(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    ):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_no_page_shows_a_traceback_or_this_machine(path):
    text = path.read_text(encoding="utf-8")
    for word in ("Traceback (most recent", str(ROOT), f"{Path.home()}/", "/tmp/tmp"):
        assert word not in text


def test_nothing_is_fetched_from_elsewhere(root):
    """The site works without a network: no fonts, scripts or images of other hosts."""
    assert "font: false" in (root / "mkdocs.yml").read_text()
    for path in PAGES:
        assert not re.search(r"!\[[^]]*\]\(https?:|<(img|script|link)\b", path.read_text()), path
