"""The page on stores has every view of a SQLite store with its columns, and every key of a record in a file."""

from __future__ import annotations

import json
import sqlite3

import pytest

from ebpf_bot_core import Plugins

PAGE = "reference/stores.md"
RUN = ("run", "--backend", "simulated", "--expect", "uprobe:checkout:*", "--for", "100ms", "--mode", "stream")


def test_stores(page):
    plugins = Plugins()
    table = page(PAGE).table("# Stores")
    assert sorted(table) == plugins.names("store")
    for name, cells in table.items():
        owner = plugins.get("store", name).distribution.partition(" ")[0]
        assert cells[0] == f"`{owner}`"


def test_default_paths(page, ebpf_bot, tmp_path):
    for name, cells in page(PAGE).table("# Stores").items():
        ebpf_bot(*RUN, "--store", name)
        assert not cells[2] or (tmp_path / cells[2].strip("`")).exists()


def test_views_and_their_columns(page, ebpf_bot, tmp_path):
    ebpf_bot(*RUN, "--store", "sqlite:x.db")
    with sqlite3.connect(tmp_path / "x.db") as db:
        views = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
        found = {view: [row[1] for row in db.execute(f"PRAGMA table_info({view})")] for view in views}
    documented = {
        view: [column.strip(" `") for column in cells[1].split(",")]
        for view, cells in page(PAGE).table("## sqlite").items()
    }
    assert documented == found


def test_keys_of_a_record(page, ebpf_bot, tmp_path):
    ebpf_bot(*RUN, "--store", "file:x")
    records = [json.loads(line)["record"] for path in (tmp_path / "x").iterdir() for line in path.open()]
    section = page(PAGE).section("## file")
    for key in {*records[0], *records[1]["evidence"], *records[1]["signals"]}:
        assert f"`{key}`" in section, key


@pytest.mark.parametrize("option", ["path", "segment_bytes"])
def test_options_of_the_file_store(page, option):
    assert option in page(PAGE).table("## file")
