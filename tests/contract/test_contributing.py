"""The layout in CONTRIBUTING.md has every room of the core, and none that is not there."""

from __future__ import annotations

import re


def test_layout(root):
    layout = (root / "CONTRIBUTING.md").read_text().partition("## The house")[2].partition("\n## ")[0]
    core = root / "src" / "ebpf_bot_core"
    modules = {path.name for path in core.glob("*.py")} - {"__main__.py"}
    rooms = {f"{path.name}/" for path in core.iterdir() if (path / "__init__.py").exists()}
    named = {
        name.removeprefix("src/ebpf_bot_core/").removeprefix("…/")
        for name in re.findall(r"`([^`]+)`", layout)
    }
    assert modules | rooms <= named
    elsewhere = {name for name in named if (root / name.replace("*/", "")).exists()}
    assert named - elsewhere - modules - rooms <= {
        "CoverageBot",
        "names.py",
        "memory",
        "make bench",
        "make setup",
    }
