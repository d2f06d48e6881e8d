#!/usr/bin/env python3
"""Boot another kernel in an emulator, run the backends' tests of every probe kind in it, and show a table.

    test_kernels.py [PACKAGE]     PACKAGE: a kernel package of Debian; the default is what `linux-image-amd64` is now

A guest sees this machine's files, through 9p, read-only but for what it keeps in memory: so the same environment and
the same tests run there. The kernel and its headers are unpacked below build/kernels and installed nowhere; they stay
there for the next time. Needs an x86_64 Debian, root for what is to be installed, and no virtualisation: the emulator
is software alone, and takes one processor for each of the two guests that run at a time.
Exit status: 0 if all tests passed and showed what they are to show.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "kernels"
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "depmod": "kmod", "busybox": "busybox-static"}
META_PACKAGE = "linux-image-amd64"
ON_FUNCTIONS = ("kprobe", "kretprobe", "fentry", "fexit")
KINDS = ("uprobe", "uretprobe", "usdt", "tracepoint", "rawtracepoint", "syscall", *ON_FUNCTIONS, "software")
AT_A_TIME = 2
BOOT_SECONDS = 1200
"""Of a guest's whole life; where nothing else runs it takes two to five minutes."""
TEST_SECONDS = 400
"""Of each test; BCC takes a minute or more for each source there."""


class Guest(NamedTuple):
    """One start of the kernel.

    Attributes:
        name: of the folder below build/kernels/out for what it says.
        backend: what its tests call the backend in what they show.
        kinds: those that they show something of.
        tests: for pytest.
        has_headers: whether the kernel's headers are where their packages would install them.
    """

    name: str
    backend: str
    kinds: tuple[str, ...]
    tests: tuple[str, ...]
    has_headers: bool = False


_BCC = "plugins/ebpf-bot-bcc/tests/kernels"
GUESTS = (
    Guest("bcc", "bcc, headers of BTF", KINDS, (_BCC,)),
    Guest("libbpf", "libbpf", KINDS, ("plugins/ebpf-bot-libbpf/tests/kernels",)),
    Guest(
        "bcc-headers",
        "bcc, the kernel's headers",
        ON_FUNCTIONS,
        (f"{_BCC}/test_bcc_kinds.py::TestKernelFunctions", f"{_BCC}/test_bcc_sources.py"),
        has_headers=True,
    ),
)


def main() -> int:
    """Do it all; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "package", nargs="?", help=f"a kernel package; by default what {META_PACKAGE} depends on"
    )
    package = parser.parse_args().package
    install_tools()
    package = package or current_kernel()
    kernel, headers = unpack(package), unpack_headers(package)
    shutil.rmtree(BUILD / "out", ignore_errors=True)
    print(f"booting {kernel.name.removeprefix('vmlinuz-')} in an emulator, which takes a while", flush=True)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        ended = list(pool.map(lambda guest: run_in(kernel, headers, guest), GUESTS))
    rows = table()
    print("\n".join(f"{kind:<15} {backend:<26} {shown or 'FAILED'}" for kind, backend, shown in rows))
    for guest, said in zip(GUESTS, ended, strict=True):
        print(f"{guest.backend}: {said}")
    passed = all(status_of(guest) == 0 for guest in GUESTS)
    return 0 if passed and all(shown for _, _, shown in rows) else 1


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
        scratch = _download(package, _pieces(package))
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


def unpack_headers(image: str) -> Path:
    """Download and unpack the headers of a kernel package, once; return the folder that stands for `/`."""
    package = image.replace("linux-image-", "linux-headers-").removesuffix("-unsigned")
    there = BUILD / package
    if not there.exists():
        shown = run("apt-cache", "depends", package)
        common = re.findall(r"Depends: (linux-headers-\S+)$", shown, re.MULTILINE)
        scratch = _download(package, [package, *common])
        _as_before(scratch)
        scratch.rename(there)
    return there


def _download(name: str, packages: list[str]) -> Path:
    """Download packages and unpack them together; return the folder, which is yet to get its name."""
    print(f"downloading {' '.join(packages)}", flush=True)
    scratch = BUILD / f"{name}.new"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    run("apt-get", "download", "-qq", *packages, cwd=scratch)
    for archive in scratch.glob("*.deb"):
        run("dpkg-deb", "-x", str(archive), str(scratch))
        archive.unlink()
    return scratch


def _as_before(folder: Path) -> None:
    """Put what newer packages have below usr/lib/modules where older ones have it."""
    for modules in folder.glob("usr/lib/modules/*"):
        shutil.copytree(modules, folder / "lib" / "modules" / modules.name, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(modules)
    for kernel in folder.glob("lib/modules/*/vmlinuz"):
        (folder / "boot").mkdir(exist_ok=True)
        kernel.rename(folder / "boot" / f"vmlinuz-{kernel.parent.name}")


def run_in(kernel: Path, headers: Path, guest: Guest) -> str:
    """Run the tests of a guest; return what there is to say of how they ended."""
    out = BUILD / "out" / guest.name
    out.mkdir(parents=True)
    script = out / "run.sh"
    pytest = [
        *(
            sys.executable,
            "-m",
            "pytest",
            *guest.tests,
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            f"timeout={TEST_SECONDS}",
        ),
        *("-o", "junit_family=xunit1"),  # the form that has the properties that `shows` notes
        f"--junitxml={out}/junit.xml",
    ]
    # One processor's worth of emulation is shared by all: what is not needed is not loaded.
    script.write_text(
        f"cd {shlex.quote(str(ROOT))}\n"
        "export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1\n"
        "export TMPDIR=/run/tests XDG_CACHE_HOME=/run/tests/cache\n"
        "mkdir -p $TMPDIR\n"
        f"{_installing(headers) if guest.has_headers else ''}"
        f"{shlex.join(pytest)} -p pytest_timeout > {shlex.quote(str(out))}/pytest.log 2>&1\n"
        f"echo $? > {shlex.quote(str(out))}/status\n"
    )
    command = [
        *("vng", "--verbose", "--run", str(kernel), "--disable-kvm", "--force-9p", "--user", "root"),
        *("--cpus", "2", "--memory", "2G", "--rwdir", str(out), "--exec", f"bash {shlex.quote(str(script))}"),
        # The guest's processors take turns: emulated side by side, one may still meet a breakpoint that another has
        # just taken out of the kernel's code, and a probe that goes under fire would end in a panic.
        "--qemu-opts=-accel tcg,thread=single",
        # Whether timer interrupts come as fast as they should says nothing in an emulator; the kernel would panic over it.
        "--append=no_timer_check",
    ]
    log = out / "console.log"
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
            print(f"{guest.backend}: the guest was ended after {BOOT_SECONDS} s", file=sys.stderr)
    if (status := status_of(guest)) is None:
        return f"the tests did not end; the guest's last words:\n{tail(log, 25)}"
    return tail(out / "pytest.log", 80 if status else 1)


def _installing(headers: Path) -> str:
    """Return commands that put headers where they belong; in the guest, /lib/modules holds a link in memory."""
    there = shlex.quote(str(headers))
    return (
        f"mount --bind {there}/usr/src /usr/src\n"
        "modules=/lib/modules/$(uname -r)\n"
        "kernel=$(readlink -f $modules)\n"
        "rm $modules && mkdir $modules\n"
        f"ln -s $kernel/* {there}/lib/modules/*/* $modules/\n"
    )


def status_of(guest: Guest) -> int | None:
    """Return pytest's exit status in a guest; None if it did not come so far."""
    status = BUILD / "out" / guest.name / "status"
    return int(status.read_text()) if status.exists() else None


def table() -> list[tuple[str, str, str]]:
    """Return (kind, backend, what was shown), in the order of kinds; nothing was shown of what failed."""
    shown: dict[tuple[str, str], list[str]] = {}
    for guest in GUESTS:
        junit = BUILD / "out" / guest.name / "junit.xml"
        for note in ET.parse(junit).iter("property") if junit.exists() else ():
            what, _, result = note.get("value", "").partition(": ")
            kind, _, backend = what.partition(" by ")
            results = shown.setdefault((kind, backend), [])
            if note.get("name") == "shows" and result not in results:
                results.append(result)
    return [
        (kind, guest.backend, "; ".join(shown.get((kind, guest.backend), ())))
        for kind in KINDS
        for guest in GUESTS
        if kind in guest.kinds
    ]


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
