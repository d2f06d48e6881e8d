"""The page on plans has every key, and none that is not there; what it shows can be read."""

from __future__ import annotations

import re
import typing

import attrs

from ebpf_bot_core import Plan
from ebpf_bot_core import plan as module
from ebpf_bot_core.probe import ProbeKind

PAGE = "reference/plan.md"


def keys(cls: type, prefix: str = "") -> set[str]:
    """Return the dotted keys that a document of this class may have."""
    found = set()
    for field in attrs.fields(attrs.resolve_types(cls)):
        inner = [each for each in (field.type, *typing.get_args(field.type)) if attrs.has(each)]
        table = [
            each for each in inner if each not in (module.Percent, module.ProbePattern, module.StageChoice)
        ]
        found |= keys(table[0], f"{prefix}{field.name}.") if table else {f"{prefix}{field.name}"}
    return found


def test_keys(page):
    assert set(page(PAGE).table("## Keys")) == keys(module._Document)


def test_kinds_and_forms(page):
    forms = {
        name: cells[0].strip("`") for name, cells in page("reference/probes.md").table("## Kinds").items()
    }
    assert forms == {kind.value: kind.form for kind in ProbeKind}


def test_plans_on_all_pages_can_be_read(root):
    seen = 0
    for path in [*(root / "docs").rglob("*.md"), root / "README.md", *root.glob("examples/*.md")]:
        for block in re.findall(r"^```toml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            if "[[expect]]" in block:
                Plan.parse(block, where=path.name)
                seen += 1
    assert seen >= 2
