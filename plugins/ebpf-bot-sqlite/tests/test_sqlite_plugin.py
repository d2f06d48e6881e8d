"""The plugin is found by its name, takes its options from a plan, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ebpf_bot_sqlite import SqliteOptions, SqliteStore

from ebpf_bot_core import PlanError, Plugins


def test_it_is_registered_under_its_name(tmp_path: Path) -> None:
    registration = Plugins().get("store", "sqlite")
    assert registration.distribution.startswith("ebpf-bot-sqlite ")
    assert isinstance(registration.build({"path": str(tmp_path / "x.db")}), SqliteStore)
    assert isinstance(registration.build({}), SqliteStore)


@pytest.mark.parametrize("options", [{"path": ""}, {"path": 3}, {"path": "a\0b"}, {"pth": "x"}])
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Plugins().get("store", "sqlite").build(options)


def test_the_default_lies_in_the_working_directory() -> None:
    assert SqliteOptions().path == ".ebpf-bot.db"


def test_importing_the_plugin_is_cheap() -> None:
    heavy = "{'numpy', 'sqlite3'} & set(__import__('sys').modules)"
    code = f"import ebpf_bot_sqlite.plugin; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
