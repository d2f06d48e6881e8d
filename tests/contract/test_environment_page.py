"""The page on environment variables has every variable that the code reads, and none that nobody reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PAGE = "reference/environment.md"
OURS = re.compile(r"_?(EBPF_BOT|OTEL|ENABLE)_[A-Z_]+")


def variables(path: Path) -> set[str]:
    """Return the variables that a module reads: ours by their look, others where they stand beside `environ`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and OURS.fullmatch(node.value):
            found.add(node.value)
        read = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
            read = node.slice
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith("environ"):
            read = node.left
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("environ.get", "getenv")):
            read = node.args[0]
        if isinstance(read, ast.Constant):
            found.add(read.value)
    return found


def test_variables(page, core_modules, plugin_modules):
    read = set().union(*(variables(path) for path in [*core_modules, *plugin_modules]))
    assert set(page(PAGE).table("## Read by ebpf-bot")) == read
