"""Finding BCC's Python module: the distribution's, and never the unrelated package of that name."""

from __future__ import annotations

import sys

import pytest
from ebpf_bot_bcc import bcc_module
from ebpf_bot_bcc.bcc_module import INSTALL, find_bcc, other_bcc

from ebpf_bot_core import BackendError


@pytest.fixture
def package(tmp_path):
    """Makes a package `bcc` with some modules in a folder."""

    def make(folder, *modules):
        made = tmp_path / folder / "bcc"
        made.mkdir(parents=True)
        for module in ("__init__", *modules):
            (made / f"{module}.py").touch()
        return made.parent

    return make


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without BCC."""
    monkeypatch.setattr(bcc_module, "_FOLDERS", (f"{tmp_path}/none/*",))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "environment")])
    sys.path_importer_cache.clear()


def test_it_is_found_in_the_folder_that_is_given(package):
    folder = package("here", "libbcc", "version")
    assert find_bcc(str(folder)) == folder


def test_it_is_found_where_distributions_have_it(package, monkeypatch, tmp_path):
    package("python3.9", "unrelated")
    folder = package("python3.10", "libbcc", "version")
    monkeypatch.setattr(bcc_module, "_FOLDERS", (f"{tmp_path}/python2", f"{tmp_path}/python3.*"))
    assert find_bcc() == folder


def test_where_there_is_none_the_packages_that_bring_it_are_named(nowhere):
    with pytest.raises(BackendError, match="BCC's Python module is not in any of the folders") as error:
        find_bcc()
    assert error.value.hint == INSTALL


def test_a_folder_without_it_is_named(nowhere, tmp_path):
    with pytest.raises(BackendError, match=r"BCC's Python module is not in /opt/none$"):
        find_bcc("/opt/none")


def test_another_project_in_the_folder_is_not_taken_for_it(nowhere, package):
    folder = package("here", "client", "version")
    with pytest.raises(BackendError, match=rf"{folder}/bcc is not BCC but another project") as error:
        find_bcc(str(folder))
    assert "PyPI's bcc is unrelated" in error.value.hint


def test_another_project_in_the_environment_is_named(nowhere, package):
    folder = package("environment", "client")
    assert other_bcc() == f"{folder}/bcc"
    with pytest.raises(BackendError, match=rf"{folder}/bcc is not BCC but another project"):
        find_bcc()


def test_one_module_of_that_name_is_another_project_too(nowhere, tmp_path):
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / "bcc.py").touch()
    assert other_bcc() == f"{tmp_path}/environment/bcc.py"


def test_bcc_itself_in_the_environment_is_no_other_project(nowhere, package):
    package("environment", "libbcc", "version")
    assert other_bcc() == ""


def test_looking_for_it_imports_nothing(nowhere, package):
    package("environment", "libbcc", "version")
    other_bcc()
    assert "bcc" not in sys.modules
