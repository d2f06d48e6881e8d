"""Processes with namespaces and a root of their own: what runs there is found and counted exactly."""

import shutil
import subprocess

import pytest

from tests.live.conftest import FUNCTIONS, calls, hits

pytestmark = pytest.mark.live

ISOLATED = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork")
ONE_ROUND = {f"f{i:04d}": calls(i) for i in range(FUNCTIONS)}


def times(rounds):
    return {name: count * rounds for name, count in ONE_ROUND.items()}


def needed(program):
    """The libraries that the program loads, and the linker that loads them."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]


def add(root, file, at=None):
    place = root / str(at or file).lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, place)
    return place


@pytest.fixture
def rootfs(tmp_path, workload):
    """A small root directory with the workload as /bin/app."""
    root = tmp_path / "rootfs"
    add(root, workload, "/bin/app")
    for library in needed(workload):
        add(root, library)
    (root / "proc").mkdir()
    return root


@pytest.mark.parametrize(("arguments", "rounds"), [("w", 1), ("wffew", 5)])
def test_a_command_in_namespaces_and_a_root_of_its_own(cover, rootfs, arguments, rounds):
    document = cover(
        *("--keep", "--expect", f"uprobe:{rootfs}/bin/app:f????"),
        *("--", *ISOLATED, "chroot", rootfs, "/bin/app", *arguments),
    )
    assert hits(document) == times(rounds)
    assert document["signals_lost"] == 0
    assert document["runs"][0]["exit_status"] == 0


def test_a_bind_mount_leads_to_the_same_file(cover, rootfs, tmp_path, workload):
    place = tmp_path / "mounted"
    place.touch()
    script = f"mount --bind {rootfs}/bin/app {place} && {place} w"
    document = cover(
        *("--keep", "--expect", f"uprobe:{rootfs}/bin/app:f????"), "--", *ISOLATED, "sh", "-c", script
    )
    assert hits(document) == times(1)


@pytest.mark.parametrize("named", ["lower", "merged"])
def test_overlays_lead_to_the_file_in_their_layer(cover, rootfs, tmp_path, named):
    (tmp_path / "layers").mkdir()
    for name in ("layers/upper", "layers/work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={rootfs},upperdir={tmp_path}/layers/upper,workdir={tmp_path}/layers/work"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(tmp_path / "merged")]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this kernel lets no overlay be mounted here")
    try:
        target = {"lower": rootfs, "merged": tmp_path / "merged"}[named] / "bin/app"
        document = cover(
            *("--keep", "--expect", f"uprobe:{target}:f????"),
            *("--", *ISOLATED, "chroot", tmp_path / "merged", "/bin/app", "w", "f"),
        )
        assert hits(document) == times(2)
    finally:
        subprocess.run(["umount", tmp_path / "merged"], check=True)
