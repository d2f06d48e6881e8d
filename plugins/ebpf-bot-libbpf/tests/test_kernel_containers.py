"""Processes that run already, with namespaces and a root of their own, by their /proc/PID/root and /proc/PID/exe."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.testing import SECONDS, Bench

from ebpf_bot_core import Evidence, ProbePattern, Reason, Scope, Verdict

from .conftest import Build
from .containers import APP, Container

pytestmark = pytest.mark.live


def find(text: str) -> Evidence:
    return Finder().find([ProbePattern.parse(text)])


def test_a_file_that_only_the_container_has(bench: Bench, container: Callable[[], Container]) -> None:
    inside = container()
    with bench.trial(f"uprobe:{inside.seen_app}:f", scope=Scope.HOST) as trial:
        assert list(trial.injection.probes) == [f"uprobe:{inside.seen_app}:f"]
        inside.call(1234)
        assert trial.hits() == {"f": 1234}


def test_the_report_keeps_the_name_when_the_container_has_ended(
    bench: Bench, container: Callable[[], Container]
) -> None:
    inside = container()
    with bench.trial(f"uprobe:{inside.seen_app}:f", scope=Scope.HOST) as trial:
        inside.call(5)
        inside.process.kill()
        inside.process.wait(timeout=SECONDS)
        assert trial.hits() == {"f": 5}
        known = next(iter(trial.injection.inspect()))
        assert known.probe == f"uprobe:{inside.seen_app}:f"
        assert known.verdict is not Verdict.BLIND


def test_a_running_program_that_was_deleted(bench: Bench, build: Build) -> None:
    app = build(APP, "-static", name="app")
    process = subprocess.Popen([app], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    inside = Container(process, process.pid, app)
    try:
        app.unlink()
        shutil.copy("/bin/true", app)
        with bench.trial(f"uprobe:/proc/{process.pid}/exe:f", scope=Scope.HOST) as trial:
            assert list(trial.injection.probes) == [f"uprobe:/proc/{process.pid}/exe:f"]
            inside.call(77)
            assert trial.hits() == {"f": 77}
    finally:
        process.communicate(timeout=SECONDS)


@pytest.mark.parametrize("link", ["usr/lib/absolute.so", "usr/lib/relative.so", "lib/absolute.so"])
def test_links_inside_are_those_of_the_container(
    bench: Bench, container: Callable[[], Container], link: str
) -> None:
    """An absolute link leads to the container's own file, not to the host's of that name."""
    inside = container()
    with bench.trial(f"uprobe:{inside.seen_root}/{link}:f", scope=Scope.HOST) as trial:
        assert list(trial.injection.probes) == [f"uprobe:{inside.seen_app}:f"]
        inside.call(9)
        assert trial.hits() == {"f": 9}


@pytest.mark.parametrize("wildcard", ["usr/lib/*.so", "lib/*.so", "l*/a*", "usr/*/a*"])
def test_wildcards_stay_inside(container: Callable[[], Container], wildcard: str) -> None:
    inside = container()
    found = find(f"uprobe:{inside.seen_root}/{wildcard}:only_inside")
    assert list(found.probes) == [f"uprobe:{inside.seen_app}:only_inside"]


@pytest.mark.parametrize(
    "path", ["usr/lib/broken.so", "usr/lib/loop.so", "etc/passwd", "../../../../etc/passwd"]
)
def test_what_the_container_has_not_is_missing(container: Callable[[], Container], path: str) -> None:
    """Even where the host has it."""
    inside = container()
    (row,) = find(f"uprobe:{inside.seen_root}/{path}:f")
    assert (row.verdict, row.reason) == (
        Verdict.MISSING,
        Reason.BINARY_MISSING,
    ) or row.reason is Reason.UNREADABLE


def test_a_file_of_the_host_at_the_path_is_not_mistaken(
    bench: Bench, container: Callable[[], Container], build: Build
) -> None:
    """The container's file is another than the host's at that path, as another build of a library would be."""
    inside = container()
    inside.app.unlink()
    build("int main(void) { return 0; } int f(void) { return 1; }", name="app")
    for target in (inside.seen_app, f"{inside.seen_root}/usr/lib/a*.so", f"{inside.seen_app[:-1]}*"):
        with bench.trial(f"uprobe:{target}:f", scope=Scope.HOST) as trial:
            assert list(trial.injection.probes) == [f"uprobe:{inside.seen_app}:f"]
            inside.call(3)
            assert trial.hits() == {"f": 3}


@pytest.mark.parametrize(
    "mount",
    [
        "true",
        'mount --bind "$1" "$1"',
        (
            'mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" && '
            'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$1"'
        ),
    ],
    ids=["nothing", "bind", "overlay"],
)
def test_the_same_file_in_a_mount_namespace_of_its_own_is_seen(
    bench: Bench, build: Build, tmp_path: Path, mount: str
) -> None:
    app = build(APP, "-static", name="app")
    layers = tmp_path / "layers"
    layers.mkdir()
    script = f'{mount} && cd / && exec "$0"'
    with bench.trial(f"uprobe:{app}:f", f"uprobe:{app}:only_inside") as trial:
        with trial.injection.follow():
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script, app, tmp_path, layers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        inside = Container(process, process.pid, app)
        inside.call(5)
        assert trial.hits() == {"f": 5}
        assert {row.verdict for row in trial.injection.inspect()} == {Verdict.PENDING}
        process.communicate(timeout=SECONDS)


def test_a_container_that_is_not_covered_changes_nothing(
    bench: Bench, container: Callable[[], Container], build: Build
) -> None:
    app = build(APP, "-static", name="app")
    with bench.trial(f"uprobe:{app}:f") as trial:
        inside = container()
        inside.call(5)
        assert {row.verdict for row in trial.injection.inspect()} == {Verdict.PENDING}
