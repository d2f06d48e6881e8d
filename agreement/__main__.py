"""Compare what ebpf-bot sees with what gcc --coverage counts, on real C programs; status 1 where they disagree.

Needs apt with an archive of Debian's, gcc, make, valgrind, and the privileges that `ebpf-bot doctor` names. Everything is fetched
and built below build/agreement/; a run of all programs renews the tables of docs/agreement.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from agreement.building import VARIANTS, Build, build, configure
from agreement.calling import calls_of
from agreement.comparing import Comparison, compare
from agreement.covering import cover
from agreement.functions import read_functions
from agreement.gcov import counted, forget
from agreement.page import machine, renew
from agreement.programs import Program, read_programs
from agreement.sources import Archive
from agreement.tables import as_json, parts

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "build" / "agreement"
PAGE = ROOT / "docs" / "agreement.md"
ENOUGH = 0.999


def built(program: Program, archive: Archive) -> list[Build]:
    """Fetch and build a program anew, once for each way of compiling."""
    folder = ROOM / program.name
    shutil.rmtree(folder, ignore_errors=True)
    version = archive.unpack(program.package, folder / "source")
    configure(program, folder / "source")
    return [
        build(program, version, variant, folder / "source", folder / variant.name) for variant in VARIANTS
    ]


def exercise(made: Build) -> Comparison:
    """Run a program's workload, counted by itself and by ebpf-bot, and once more in valgrind; compare."""
    workload = ["sh", "-c", f"{made.program.workload}\ntrue"]
    known = {"PROGRAM": str(made.binary), "SOURCE": str(made.source), "LC_ALL": "C"}
    forget(made.source)
    room = made.source.with_name(f"{made.source.name}.run")
    room.mkdir()
    coverage = cover(made.binary, workload, room, known)
    counts = counted(made.source)
    calls = calls_of(made.binary, workload, room.with_suffix(".valgrind"), known)
    return compare(read_functions(made.binary, counts), counts, coverage, made.program.miscounted, calls)


def main() -> int:
    """Compare, print the tables, and write them."""
    parser = argparse.ArgumentParser(prog="python -m agreement", description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", help="their names in agreement/programs.toml; all by default")
    names = parser.parse_args().programs
    programs = read_programs(names)
    archive = Archive(ROOM / "apt")
    results = []
    for program in programs:
        for made in built(program, archive):
            found = exercise(made)
            results.append((made, found))
            print(
                f"{program.name} {made.variant.name}: {found.executed} of {found.functions} functions ran, "
                f"{found.fired} fired, {len(found.sets)} disagree; {found.called} were called in valgrind, "
                f"{len(found.witness)} disagree",
                file=sys.stderr,
            )
    found_parts = parts(results)
    (ROOM / "agreement.json").write_text(as_json(results))
    print("\n".join(found_parts.values()))
    if not names:  # a page of some programs would be less than it was
        renewed = renew(
            PAGE.read_text(encoding="utf-8"), {"machine": machine("make agreement"), **found_parts}
        )
        PAGE.write_text(renewed, encoding="utf-8")
    return report_doubts(results)


def report_doubts(results: list[tuple[Build, Comparison]]) -> int:
    """Say what is not as it should be; return the exit status."""
    status = 0
    for made, found in results:
        name = f"{made.program.name} ({made.variant.name})"
        for doubt in found.unexplained:
            print(
                f"{name}: {doubt.function}: gcov {doubt.executed}, ebpf-bot {doubt.entered}; the cause is not known",
                file=sys.stderr,
            )
            status = 1
        if made.variant is VARIANTS[0] and found.overlap < ENOUGH:
            print(f"{name}: the sets agree for {found.overlap:.2%} only", file=sys.stderr)
            status = 1
        if found.witnessed < ENOUGH:
            print(
                f"{name}: called, by valgrind or ebpf-bot alone: {', '.join(found.witness)}", file=sys.stderr
            )
            status = 1
        if found.lost:
            print(f"{name}: the kernel left out {found.lost} hits", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
