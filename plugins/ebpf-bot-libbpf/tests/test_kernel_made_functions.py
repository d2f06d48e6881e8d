"""Functions that GCC copied, split, inlined or chose at run time, on the real kernel: what of them fires, and when."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ebpf_bot_core import Reason, Verdict

pytestmark = pytest.mark.live


def last_parts(evidence):
    return {row.probe.rpartition(":")[2]: row for row in evidence}


@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_a_run_of_a_copy_is_a_run_of_the_function(bench, made, kind):
    names = ("only_copy", "whole_and_copy", "whole_and_copy.constprop.0", "versions")
    with bench.trial(*(f"{kind}:{made}:{name}" for name in names)) as trial:
        trial.run(made)
        assert trial.hits() == {
            "only_copy": 3,
            "whole_and_copy": 3,
            "whole_and_copy.constprop.0": 3,
            "versions": 1,
        }


def test_a_part_fires_only_where_the_function_comes_that_far(bench, made):
    with bench.trial(f"uprobe:{made}:only_part", f"uprobe:{made}:whole_and_part") as trial:
        trial.run(made)
        assert trial.hits() == {}, "all runs ended in what was inlined"
        trial.run(made, "2")
        assert "only_part" in trial.hits()
        assert "whole_and_part" not in trial.hits(), "every run was inlined, but for its part"


@pytest.fixture
def cover(tmp_path):
    """Run the command line and return the rows by the last part of their names."""

    def run(*arguments):
        command = [
            sys.executable,
            "-m",
            "ebpf_bot_core",
            "run",
            "--backend",
            "libbpf",
            "--json",
            *map(str, arguments),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        return {row["probe"].rpartition(":")[2]: row for row in json.loads(done.stdout)["probes"]}

    return run


def test_the_map_says_of_each_what_its_silence_means(bench, cover, made):
    names = (
        "also_inlined",
        "chosen",
        "everywhere",
        "not_called",
        "only_copy",
        "only_part",
        "same",
        "whole_and_part",
        "with_cold",
        "with_cold.cold",
    )
    expected = [word for name in names for word in ("--expect", f"uprobe:{made}:{name}")]
    rows = cover(*expected, "--", made)
    said = {name: (row["verdict"], row["reason"]) for name, row in rows.items()}
    inlined = (Verdict.SILENT.label, Reason.INLINED.code)
    assert said == {
        "also_inlined": inlined,
        "chosen": (Verdict.BLIND.label, Reason.INDIRECT_FUNCTION.code),
        "everywhere": (Verdict.MISSING.label, Reason.INLINED.code),
        "not_called": (Verdict.SILENT.label, Reason.NOT_CALLED.code),
        "only_copy": (Verdict.FIRED.label, None),
        "only_part": inlined,
        "same": (Verdict.FIRED.label, None),
        "whole_and_part": inlined,
        "with_cold": (Verdict.FIRED.label, None),
        "with_cold.cold": (Verdict.EXCLUDED.label, Reason.SPLIT_PART.code),
    }
    assert "those runs are not seen" in rows["also_inlined"]["detail"]
    assert "does not tell which was called" in rows["same"]["detail"], "though it has fired"
    assert "only_copy.constprop.0" in rows["only_copy"]["detail"]


def test_what_was_never_loaded_never_executed_whatever_else_is_known(bench, cover, made):
    rows = cover("--expect", f"uprobe:{made}:also_inlined", "--expect", f"uprobe:{made}:same", "--", "true")
    assert {(row["reason"], row["opportunities"]) for row in rows.values()} == {("never-executed", 0)}


def test_a_library_that_is_loaded_later_is_covered_from_its_first_call(bench, build):
    library = build("int worked(int x) { return x + 1; }", "-shared", "-fPIC", name="later.so")
    program = build(
        """
        #include <dlfcn.h>
        int main(int argc, char **argv) {
            void *handle = dlopen(argv[1], RTLD_NOW);
            int (*worked)(int) = handle ? dlsym(handle, "worked") : 0;
            for (int i = 0; worked && i < 5; i++) worked(i);
            return !worked;
        }
        """,
        "-ldl",
    )
    with bench.trial(f"uprobe:{library}:worked") as trial:
        assert trial.run(program, library).returncode == 0
        assert trial.hits() == {"worked": 5}
        (row,) = trial.injection.inspect()
        assert row.opportunities == 1
