"""What the commands write with --json is what the published schemas say, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ebpf_bot_core import Reason, Verdict

PAGE = "reference/json.md"
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
COMMENTS = {"$schema", "$defs", "title", "description"}
SIMULATED = ("--backend", "simulated")
COVER = ("run", *SIMULATED, "--store", "memory", "--expect", "uprobe:checkout:*", "--expect", "usdt:nope:a:b")


def violations(value: Any, schema: dict[str, Any], top: dict[str, Any], at: str = "$") -> Iterator[str]:
    """Yield what in a value is against a JSON Schema, or is not in it: properties that it does not name.

    Knows the keywords that our schemas use; any other is a violation, so that none is silently ignored.
    """
    for keyword, wanted in schema.items():
        if keyword in HOLDS:
            if not HOLDS[keyword](value, wanted):
                yield f"{at}: {value!r} against {keyword} {wanted!r}"
        elif keyword == "$ref":
            yield from violations(value, top["$defs"][wanted.removeprefix("#/$defs/")], top, at)
        elif keyword == "items":
            for i, item in enumerate(value or ()):
                yield from violations(item, wanted, top, f"{at}[{i}]")
        elif keyword == "properties":
            yield from (f"{at}: {key} is not in the schema" for key in value.keys() - wanted.keys())
            for key in value.keys() & wanted.keys():
                yield from violations(value[key], wanted[key], top, f"{at}.{key}")
        elif keyword not in COMMENTS:
            yield f"{at}: this checker does not know {keyword!r}"


def is_of_type(value: Any, wanted: str | list[str]) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, bool):  # which Python takes for a number
        return "boolean" in names
    return any(isinstance(value, TYPES[name]) for name in names)


HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "const": lambda value, wanted: bool(value == wanted),
    "enum": lambda value, wanted: value in wanted,
    "type": is_of_type,
    "pattern": lambda value, wanted: value is None or bool(re.search(wanted, value)),
    "minimum": lambda value, wanted: value is None or value >= wanted,
    "maximum": lambda value, wanted: value is None or value <= wanted,
    "minItems": lambda value, wanted: len(value) >= wanted,
    "required": lambda value, wanted: value.keys() >= set(wanted),
}


def described(schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted names of what a schema describes, `runs[].id`, and the descriptions of the leaves."""
    for key, inner in schema.get("properties", {}).items():
        items = inner.get("items", {})
        if "properties" in inner:
            yield from described(inner, f"{at}{key}.")
        elif "properties" in items:
            yield from described(items, f"{at}{key}[].")
        else:
            yield f"{at}{key}", inner.get("description", "")


@pytest.fixture(scope="module")
def schema(root: Path) -> Any:
    return lambda name: json.loads((root / f"docs/reference/{name}-1.schema.json").read_text())


def check(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    assert list(violations(document, schema, schema)) == []
    return document


def test_the_checker_finds_what_is_wrong(schema, ebpf_bot):
    coverage = schema("coverage")
    document = json.loads(ebpf_bot(*COVER, "--json", "--for", "100ms"))
    document["extra"] = 1
    document["ratio"] = 1.5
    document["probes"][0]["verdict"] = "seen"
    document["runs"][0]["steps"] = True
    del document["host"]["kernel"]
    assert len(list(violations(document, coverage, coverage))) == 5


def test_coverage_of_a_command(schema, ebpf_bot):
    document = check(ebpf_bot(*COVER, "--json", "--", "sleep", "0.2"), schema("coverage"))
    assert document["runs"][0]["command"] == ["sleep", "0.2"]
    assert document["totals"]["expected"] == len(document["probes"])
    totals = document["totals"]
    assert document["ratio"] == round(totals["fired"] / (totals["expected"] - totals["excluded"]), 6)


def test_coverage_of_stored_runs(schema, ebpf_bot):
    for mode in ("count", "stream"):
        ebpf_bot("run", *SIMULATED, "--expect", "syscall:*", "--mode", mode, "--keep", "--for", "100ms")
    document = check(ebpf_bot("report", "--format", "json"), schema("coverage"))
    assert [run["mode"] for run in document["runs"]] == ["count", "stream"]


def test_coverage_of_a_plan_of_which_nothing_can_be_attached(schema, ebpf_bot):
    arguments = ("run", *SIMULATED, "--expect", "uprobe:nope:*", "--json")
    assert ebpf_bot(*arguments, status=2) == "", "a run that never was has no report"
    document = check(ebpf_bot("report", "--format", "json"), schema("coverage"))
    assert document["ratio"] == 0
    assert document["probes"][0]["reason"] == "binary-missing"


def test_probes(schema, ebpf_bot):
    check(ebpf_bot("probes", *SIMULATED, "--json", "uprobe:checkout:*"), schema("probes"))
    check(ebpf_bot("probes", *SIMULATED, "--json", "uprobe:nope:*", status=2), schema("probes"))


def test_plugins(schema, ebpf_bot):
    check(ebpf_bot("plugins", "--json"), schema("plugins"))


def test_doctor(schema, ebpf_bot):
    document = check(ebpf_bot("doctor", "--json", status=(0, 2)), schema("doctor"))
    needed = [each["ok"] for each in document["checks"] if each["needed"]]
    assert document["ok"] == all(needed)


def test_enumerations_are_those_of_the_code(schema):
    names = schema("coverage")["$defs"]
    assert names["verdict"]["enum"] == [verdict.label for verdict in Verdict]
    assert names["reason"]["enum"] == [reason.code or None for reason in Reason]


@pytest.mark.parametrize("name", ["coverage", "probes", "plugins", "doctor"])
def test_the_page_describes_every_key_in_the_same_words(page, schema, name):
    documented = {key: cells[0] for key, cells in page(PAGE).table(f"## ebpf-bot/{name}/1").items()}
    expected = dict(described(schema(name)))
    expected["schema"] = f"`{schema(name)['properties']['schema']['const']}`"
    assert documented == expected


def test_every_schema_file_is_tested(root):
    names = {path.name.partition("-")[0] for path in (root / "docs").rglob("*.schema.json")}
    assert names == {"coverage", "probes", "plugins", "doctor"}
