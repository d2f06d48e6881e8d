"""What the contract tests read: the pages of the documentation, and the sources."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]


@attrs.frozen
class Page:
    """A page of the documentation."""

    path: Path
    text: str

    def section(self, heading: str) -> str:
        """Return what stands under a heading, up to the next one of its level or a higher one."""
        level = heading.partition(" ")[0]
        pattern = rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)"
        found = re.search(pattern, self.text, re.MULTILINE | re.DOTALL)
        assert found, f"{self.path.name} has no section {heading!r}"
        return found[1]

    def headings(self, level: int) -> list[str]:
        """Return the words of the headings of one level, without backticks; those in code do not count."""
        prose = re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        return [
            line.strip().replace("`", "") for line in re.findall(rf"^#{{{level}}} (.+)$", prose, re.MULTILINE)
        ]

    def table(self, heading: str) -> dict[str, list[str]]:
        """Return the table under a heading: the first cell of each row, without backticks, to the other cells."""
        own = re.split(r"^#+ ", self.section(heading), maxsplit=1, flags=re.MULTILINE)[0]
        rows = [
            [_plain(cell) for cell in line.strip().strip("|").split("|")]
            for line in own.splitlines()
            if line.lstrip().startswith("|")
        ]
        assert len(rows) > 2, f"{self.path.name}: no table under {heading!r}"
        names = [row[0].strip("`") for row in rows[2:]]
        assert len(names) == len(set(names)), f"{self.path.name}: a row of {heading!r} stands there twice"
        return dict(zip(names, [row[1:] for row in rows[2:]], strict=True))


def _plain(cell: str) -> str:
    """Return a cell as if it were written with backticks; a bar in code is `&#124;` inside `<code>`."""
    return html.unescape(re.sub(r"</?code>", "`", cell.strip()))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def page() -> Callable[[str], Page]:
    """Return a function that reads a page, named as under `docs/`."""

    def read(name: str) -> Page:
        path = ROOT / "docs" / name
        return Page(path, path.read_text(encoding="utf-8"))

    return read


@pytest.fixture(scope="session")
def core_modules() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.py"))


@pytest.fixture(scope="session")
def plugin_modules() -> list[Path]:
    return sorted([*ROOT.glob("libraries/*/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])


@pytest.fixture(scope="session")
def test_modules() -> list[Path]:
    return sorted(_tests())


def _tests() -> Iterator[Path]:
    yield from (ROOT / "tests").rglob("*.py")
    yield from (ROOT / "libraries").glob("*/tests/**/*.py")
    yield from (ROOT / "plugins").glob("*/tests/**/*.py")


@pytest.fixture
def ebpf_bot(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs `ebpf-bot`, asserts its exit status, and returns its stdout."""

    def run(*arguments: str, status: int | tuple[int, ...] = 0) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("ebpf-bot"), *arguments],
            cwd=tmp_path,
            env={**os.environ, "ENABLE_OTLP": "false"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (status if isinstance(status, tuple) else (status,)), done.stderr
        return done.stdout

    return run
