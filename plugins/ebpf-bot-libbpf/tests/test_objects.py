"""What is shipped for the kernel: the asset is of its source, whole, and is refused where it is not."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from ebpf_bot_libbpf.lskel import LightSkeleton
from ebpf_bot_linux.kernel.kernel_error import KernelError, describe

BPF = Path(str(files("ebpf_bot_libbpf"))) / "bpf"
SCRIPT = BPF.parents[2] / "scripts" / "build_objects.py"


def test_the_asset_is_of_the_source_that_stands_beside_it():
    asset = LightSkeleton.read(BPF / "coverage.lskel")
    sources = [*sorted(BPF.glob("*.bpf.h")), BPF / "coverage.bpf.c"]
    assert asset.source_sha256 == hashlib.sha256(b"".join(map(Path.read_bytes, sources))).hexdigest()


@pytest.mark.skipif(not (shutil.which("clang") and shutil.which("bpftool")), reason="needs clang and bpftool")
def test_building_it_again_gives_the_same_bytes():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not (shutil.which("clang") and shutil.which("bpftool")), reason="needs clang and bpftool")
def test_the_check_sees_a_changed_source(tmp_path):
    """The place of the sources does not matter to the bytes; a change in them does."""
    plugin = tmp_path / "plugin"
    shutil.copytree(BPF, plugin / "src" / "ebpf_bot_libbpf" / "bpf")
    (plugin / "scripts").mkdir()
    script = shutil.copy(SCRIPT, plugin / "scripts")
    check = [sys.executable, script, "--check"]
    assert subprocess.run(check, timeout=60, check=False).returncode == 0
    with (plugin / "src" / "ebpf_bot_libbpf" / "bpf" / "coverage.bpf.c").open("a") as source:
        source.write("\nint more;\n")
    done = subprocess.run(check, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "coverage.lskel is not what coverage.bpf.c gives" in done.stderr
    assert subprocess.run(check[:-1], stdout=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
    assert subprocess.run(check, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    "spoil", [lambda whole: whole[:-1], lambda whole: whole.replace(b"lskel/2", b"lskel/9")]
)
def test_an_asset_that_is_cut_short_or_of_another_format_is_refused(tmp_path, spoil):
    asset = tmp_path / "asset"
    asset.write_bytes(spoil((BPF / "coverage.lskel").read_bytes()))
    with pytest.raises(ValueError, match="not a whole asset"):
        LightSkeleton.read(asset)


@pytest.mark.skipif(not (shutil.which("clang") and shutil.which("bpftool")), reason="needs clang and bpftool")
def test_a_template_that_needs_more_than_its_maps_is_not_built(tmp_path):
    """Only the loader can find a field of the kernel's, and templates are what it leaves out."""
    bpf = tmp_path / "src" / "ebpf_bot_libbpf" / "bpf"
    shutil.copytree(BPF, bpf)
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(SCRIPT, tmp_path / "scripts")
    source = bpf / "coverage.bpf.c"
    text = source.read_text()
    field = "bpf_get_current_task_btf()->thread_info.status"
    source.write_text(text.replace("count((__u64)ctx);", f"count({field});"))
    assert source.read_text() != text
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "reads a field of the kernel's" in done.stderr


@pytest.mark.live
def test_a_program_that_the_verifier_refuses_comes_with_its_log(tmp_path):
    """The branch that bounds the syscall table is turned round, so that the verifier must object."""
    whole = (BPF / "coverage.lskel").read_bytes()
    bound = (1023).to_bytes(4, "little")
    assert whole.count(bound) >= 1
    asset = tmp_path / "asset"
    asset.write_bytes(whole.replace(bound, (1 << 20).to_bytes(4, "little")))
    with pytest.raises(KernelError) as caught:
        LightSkeleton.read(asset).load(max_entries={"counts": 2}, constants={})
    assert caught.value.errno == 13
    assert "invalid access to map value" in caught.value.log


def test_the_kernels_own_errno_is_put_in_words():
    assert "ENOTSUPP" in describe(524)
    assert "EINVAL" in describe(22)
    assert "9999" in describe(9999)
