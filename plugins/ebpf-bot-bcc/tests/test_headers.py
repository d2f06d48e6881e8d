"""Which headers are taken: those of the running kernel where they are whole, in one folder or as Debian splits them."""

from __future__ import annotations

import platform

import pytest
from ebpf_bot_bcc import headers as module
from ebpf_bot_bcc.headers import headers

RELEASE = platform.release()


def generated(folder, release=RELEASE):
    (folder / "include" / "generated").mkdir(parents=True)
    (folder / "include" / "generated" / "utsrelease.h").write_text(f'#define UTS_RELEASE "{release}"\n')


def common(folder):
    (folder / "include" / "linux").mkdir(parents=True)
    (folder / "include" / "linux" / "kconfig.h").touch()


@pytest.fixture
def choose(tmp_path, monkeypatch):
    """Return (folder, made) for what stands below `/lib/modules/RELEASE` here; those of BTF are called BTF."""
    monkeypatch.setattr(module, "shim", lambda declare: "BTF")
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)

    def chosen():
        found = headers(lambda file: None, tmp_path)
        return found.folder, found.made

    return chosen


@pytest.fixture
def installed(tmp_path):
    folder = tmp_path / RELEASE
    folder.mkdir()
    return folder


def test_one_folder_with_all_is_left_to_bcc(choose, installed):
    generated(installed / "build")
    common(installed / "build")
    assert choose() == (None, False)


def test_two_folders_as_debian_has_them_are_left_to_bcc(choose, installed):
    generated(installed / "build")
    common(installed / "source")
    assert choose() == (None, False)


def test_half_of_them_is_as_good_as_none(choose, installed):
    """The package of the other half may be gone, or its link lead nowhere; BCC would end with "no kernel headers"."""
    generated(installed / "build")
    (installed / "source").symlink_to("/no such directory")
    assert choose() == ("BTF", True)


def test_where_there_are_none_they_are_made(choose):
    assert choose() == ("BTF", True)


@pytest.mark.parametrize("of", ["6.1.0-56-amd64", RELEASE + "-other", RELEASE[:-1], ""])
def test_those_of_another_kernel_are_not_taken(choose, installed, of):
    generated(installed / "build", of)
    common(installed / "build")
    assert choose() == ("BTF", True)


def test_a_folder_that_is_named_is_taken_where_it_is_whole_and_this_kernels(choose, tmp_path, monkeypatch):
    named = tmp_path / "named"
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(named))
    assert choose() == ("BTF", True)
    generated(named)
    assert choose() == ("BTF", True)
    common(named)
    assert choose() == (named, False)
    (named / "include" / "generated" / "utsrelease.h").write_text('#define UTS_RELEASE "1.2.3"\n')
    assert choose() == ("BTF", True)


def test_half_a_folder_that_is_named_does_not_hide_what_is_installed(
    choose, tmp_path, installed, monkeypatch
):
    """The half that Debian's `build` leads to, named."""
    generated(installed / "build")
    common(installed / "source")
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(installed / "build"))
    assert choose() == (None, False)
