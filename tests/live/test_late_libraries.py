"""Libraries that a program loads long after it has started: by dlopen, some of them made only then."""

import subprocess

import pytest

pytestmark = pytest.mark.live

LOADER = """
#include <dlfcn.h>
#include <stdlib.h>
/* each argument: a command for the shell, or the path of a library whose f is called seven times */
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '/') { if (system(argv[i])) return 1; continue; }
    void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) return 2;
    int (*f)(int) = (int (*)(int))dlsym(library, "f");
    for (int k = 0; k < 7; k++) f(k);
  }
  return 0;
}
"""
LIBRARY = "int f(int x) { return x + 1; } int g(int x) { return f(x) * 2; }"


@pytest.fixture
def loader(tmp_path):
    (tmp_path / "loader.c").write_text(LOADER)
    (tmp_path / "library.c").write_text(LIBRARY)
    subprocess.run(["gcc", "-o", "loader", "loader.c"], cwd=tmp_path, check=True, timeout=60)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", "lib.so", "library.c"], cwd=tmp_path, check=True, timeout=60
    )
    return tmp_path / "loader"


def told(document):
    return {
        probe["probe"].rpartition(":")[2]: (probe["verdict"], probe["reason"], probe["hits"])
        for probe in document["probes"]
    }


def test_a_library_loaded_after_the_start_is_counted(cover, loader, tmp_path):
    library = tmp_path / "lib.so"
    document = cover("--keep", "--expect", f"uprobe:{library}:[fg]", "--", loader, "true", library, library)
    assert told(document) == {"f": ("fired", None, 14), "g": ("silent", "not-called", 0)}


def test_a_copy_is_another_file(cover, loader, tmp_path):
    library, copy = tmp_path / "lib.so", tmp_path / "copy.so"
    document = cover(
        *("--keep", "--expect", f"uprobe:{library}:f"), "--", loader, f"cp {library} {copy}", copy
    )
    assert told(document) == {"f": ("silent", "never-executed", 0)}


def test_a_library_that_is_made_after_attaching_is_missing(cover, loader, tmp_path):
    library, late = tmp_path / "lib.so", tmp_path / "late.so"
    document = cover(
        *("--keep", "--expect", f"uprobe:{library}:f", "--expect", f"uprobe:{late}:f"),
        *("--", loader, f"cp {library} {late}", late),
    )
    verdicts = {probe["probe"]: (probe["verdict"], probe["reason"]) for probe in document["probes"]}
    assert verdicts[f"uprobe:{late}:f"] == ("missing", "binary-missing")


def test_a_library_that_is_replaced_after_attaching_is_not_silent(cover, loader, tmp_path):
    library, new = tmp_path / "lib.so", tmp_path / "new.so"
    document = cover(
        *("--keep", "--expect", f"uprobe:{library}:f", "--"),
        *(loader, f"cp {library} {new} && mv {new} {library}", library),
    )
    assert told(document) == {"f": ("blind", "binary-replaced", 0)}
