"""The plugin is found by its name, takes its options from a plan, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ebpf_bot_file import FileOptions, FileStore

from ebpf_bot_core import PlanError, Plugins


def test_it_is_registered_under_its_name(tmp_path: Path) -> None:
    registration = Plugins().get("store", "file")
    assert registration.distribution.startswith("ebpf-bot-file ")
    assert isinstance(registration.build({"path": str(tmp_path), "segment_bytes": 1024}), FileStore)
    assert isinstance(registration.build({}), FileStore)


@pytest.mark.parametrize(
    "options", [{"path": ""}, {"path": 3}, {"path": "a\0b"}, {"segment_bytes": 0}, {"segment": 1}]
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Plugins().get("store", "file").build(options)


def test_the_defaults_are_those_of_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"| `path` | `{FileOptions().path}` |" in readme
    assert f"| `segment_bytes` | {FileOptions().segment_bytes} |" in readme


def test_importing_the_plugin_is_cheap() -> None:
    heavy = "{'numpy', 'orjson'} & set(__import__('sys').modules)"
    code = f"import ebpf_bot_file.plugin; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
