"""The injector kit tells sound backends from broken ones."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ebpf_bot_core.testing import InjectorTests

BACKENDS = Path(__file__).with_name("broken_injectors.py")
BROKEN: dict[str, Any] = {
    name: value
    for name, value in runpy.run_path(str(BACKENDS)).items()
    if name.startswith("Test") and getattr(value, "breaks", None)
}
PROMISES = {name for name in dir(InjectorTests) if name.startswith("test_")}

Outcomes = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Run the kit: all of it on the sound backend, on each broken one the test that must fail.

    Returns class -> test -> how it ended: `passed`, `failure`, `error` or `skipped`.
    """
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    tests = ["TestSound", *(f"{name}::{backend.breaks}" for name, backend in BROKEN.items())]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"{BACKENDS}::{test}" for test in tests)],
        cwd=BACKENDS.parents[1],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    ended: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        test = case.attrib["name"].partition("[")[0]
        suite = ended.setdefault(case.attrib["classname"].rpartition(".")[2], {})
        bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        if bad or test not in suite:
            suite[test] = bad[0] if bad else "passed"
    return ended


def test_a_sound_backend_passes(outcomes: Outcomes) -> None:
    assert outcomes["TestSound"] == dict.fromkeys(PROMISES, "passed")


@pytest.mark.parametrize("backend", BROKEN)
def test_a_broken_backend_fails_where_it_is_broken(outcomes: Outcomes, backend: str) -> None:
    assert outcomes[backend][BROKEN[backend].breaks] == "failure"


def test_no_promise_goes_unguarded() -> None:
    assert {backend.breaks for backend in BROKEN.values()} == PROMISES


def test_what_a_backend_cannot_do_is_not_collected() -> None:
    class Plain(InjectorTests):
        pass

    class Able(Plain):
        modes = frozenset(BROKEN["TestLosesAHit"].modes)
        scopes = frozenset(BROKEN["TestLosesAHit"].scopes)

    missing = {name for name in PROMISES if getattr(Plain, name) is None}
    assert missing == {
        "test_a_refused_probe_fails_no_other",
        "test_a_streamed_signal_is_one_hit",
        "test_a_followed_command_is_covered",
        "test_a_child_of_the_followed_command_is_covered",
        "test_no_one_but_the_followed_command_is_covered",
    }
    assert {name for name in PROMISES if getattr(Able, name) is None} == {
        "test_a_refused_probe_fails_no_other"
    }
