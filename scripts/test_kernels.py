#!/usr/bin/env python3
"""Boot another kernel in an emulator, run the libbpf plugin's tests of every probe kind in it, and show a table.

    test_kernels.py [PACKAGE]     PACKAGE: a kernel package of Debian; the default is what `linux-image-amd64` is now

The guest sees this machine's files, through 9p, read-only but for what it keeps in memory: so the same environment and
the same tests run there. The kernel is unpacked below build/kernels and installed nowhere; it stays there for the next
time. Needs an x86_64 Debian, root for what is to be installed, and no virtualisation: the emulator is software alone.
Exit status: that of pytest in the guest, or 1 where it did not come so far.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "kernels"
TESTS = "plugins/ebpf-bot-libbpf/tests/kernels"
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "depmod": "kmod", "busybox": "busybox-static"}
META_PACKAGE = "linux-image-amd64"
KINDS = (
    *("uprobe", "uretprobe", "usdt", "tracepoint", "rawtracepoint", "syscall"),
    *("kprobe", "kretprobe", "fentry", "fexit", "software"),
)
BOOT_SECONDS = 540
"""Of the guest's whole life; it takes about two minutes."""


def main() -> int:
    """Do it all; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "package", nargs="?", help=f"a kernel package; by default what {META_PACKAGE} depends on"
    )
    package = parser.parse_args().package
    install_tools()
    kernel = unpack(package or current_kernel())
    out = BUILD / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    print(f"booting {kernel.name.removeprefix('vmlinuz-')} in an emulator, which takes a while", flush=True)
    log = run_in(kernel, out)
    status_file = out / "status"
    if not status_file.exists():
        print(f"the tests did not end there; the guest's last words:\n{tail(log, 25)}", file=sys.stderr)
        return 1
    print(table(out / "junit.xml"))
    print(
        tail(out / "pytest.log", 1)
        if status_file.read_text().strip() == "0"
        else tail(out / "pytest.log", 80)
    )
    return int(status_file.read_text())


def install_tools() -> None:
    """Install the emulator and what it needs, where they are not."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None]
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing)


def current_kernel() -> str:
    """Return the package that the meta package stands for; where apt does not know, one that is there already."""
    if not (found := _depends()):
        run("apt-get", "update", "-qq")
        found = _depends()
    there = sorted(kernel.parent.parent.name for kernel in BUILD.glob("linux-image-*/boot/vmlinuz-*"))
    if not found and not there:
        sys.exit(
            f"apt knows no {META_PACKAGE}: name a kernel package, as `apt-cache search linux-image` has them"
        )
    return found or there[-1]


def _depends() -> str:
    shown = run("apt-cache", "depends", META_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", shown)
    return found[1] if found else ""


def unpack(package: str) -> Path:
    """Download and unpack a kernel package, once; return its kernel."""
    if not re.fullmatch(r"linux-image-[\w.+-]+", package):
        sys.exit(f"{package!r} is not the name of a kernel package")
    there = BUILD / package
    if not list(there.glob("boot/vmlinuz-*")):
        print(f"downloading {package}", flush=True)
        scratch = BUILD / f"{package}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        run("apt-get", "download", "-qq", *_pieces(package), cwd=scratch)
        for archive in scratch.glob("*.deb"):
            run("dpkg-deb", "-x", str(archive), str(scratch))
            archive.unlink()
        _as_before(scratch)
        (modules,) = scratch.glob("lib/modules/*")
        run("/sbin/depmod", "-b", str(scratch), modules.name)
        shutil.rmtree(there, ignore_errors=True)
        scratch.rename(there)
    (kernel,) = there.glob("boot/vmlinuz-*")
    return kernel


def _pieces(package: str) -> list[str]:
    """Return the packages that hold a kernel: it alone or, of Debian 14, what it depends on by the same version."""
    version = package.removeprefix("linux-image-")
    shown = run("apt-cache", "depends", package)
    return [package, *re.findall(rf"Depends: (linux-\w+-{re.escape(version)})$", shown, re.MULTILINE)]


def _as_before(folder: Path) -> None:
    """Put what newer packages have below usr/lib/modules where older ones have it."""
    for modules in folder.glob("usr/lib/modules/*"):
        shutil.copytree(modules, folder / "lib" / "modules" / modules.name, dirs_exist_ok=True)
        shutil.rmtree(modules)
    for kernel in folder.glob("lib/modules/*/vmlinuz"):
        (folder / "boot").mkdir(exist_ok=True)
        kernel.rename(folder / "boot" / f"vmlinuz-{kernel.parent.name}")


def run_in(kernel: Path, out: Path) -> Path:
    """Run the tests in a guest; return where its console is logged. What they say comes out of it through `out`."""
    script = out / "run.sh"
    pytest = [
        *(sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider", "-o", "timeout=200"),
        *("-o", "junit_family=xunit1"),  # the form that has the properties that `shows` notes
        f"--junitxml={out}/junit.xml",
    ]
    # One processor's worth of emulation is shared by all: what is not needed is not loaded.
    script.write_text(
        f"cd {shlex.quote(str(ROOT))}\n"
        "export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1 TMPDIR=/run/tests\n"
        "mkdir -p $TMPDIR\n"
        f"{shlex.join(pytest)} -p pytest_timeout > {shlex.quote(str(out))}/pytest.log 2>&1\n"
        f"echo $? > {shlex.quote(str(out))}/status\n"
    )
    command = [
        *("vng", "--verbose", "--run", str(kernel), "--disable-kvm", "--force-9p", "--user", "root"),
        *("--cpus", "2", "--memory", "2G", "--rwdir", str(out), "--exec", f"bash {shlex.quote(str(script))}"),
        # The guest's processors take turns: emulated side by side, one may still meet a breakpoint that another has
        # just taken out of the kernel's code, and a probe that goes under fire would end in a panic.
        "--qemu-opts=-accel tcg,thread=single",
    ]
    log = BUILD / "console.log"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/sbin:{os.environ['PATH']}"}
    with log.open("wb") as console:
        try:
            subprocess.run(
                command,
                cwd=kernel.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                timeout=BOOT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"the guest was ended after {BOOT_SECONDS} s", file=sys.stderr)
    return log


def table(junit: Path) -> str:
    """Return what was shown of each kind, one line a kind; a kind of which a test failed shows nothing."""
    shown: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for note in ET.parse(junit).iter("property"):
        kind, _, result = note.get("value", "").partition(": ")
        if note.get("name") == "shows" and result not in shown[kind]:
            shown[kind].append(result)
    rows = [f"{kind:<15} {'; '.join(results) or 'FAILED: see below'}" for kind, results in shown.items()]
    return "\n".join(rows)


def tail(file: Path, lines: int) -> str:
    """Return the last lines of a file."""
    return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a command and return what it prints; end with its own words where it fails."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{shlex.join(command)}: status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
