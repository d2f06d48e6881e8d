"""Where the `bcc` module of the distribution is: BCC's own Python, not the unrelated package of that name on PyPI.

It belongs to the system's Python, so a virtual environment does not have it. It is pure Python over a C library, and any
interpreter can import it; the worker does, from the one folder that is found here.
"""

from __future__ import annotations

import glob
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ebpf_bot_core import BackendError

__all__ = ["INSTALL", "bcc_version", "find_bcc", "other_bcc"]

_FOLDERS: Final = (
    "/usr/lib/python3/dist-packages",  # Debian, Ubuntu
    "/usr/lib/python3.*/site-packages",  # Fedora, RHEL, openSUSE, Arch
    "/usr/lib64/python3.*/site-packages",
    "/usr/local/lib/python3.*/dist-packages",  # built from source
    "/usr/local/lib/python3.*/site-packages",
)
INSTALL: Final = (
    "install your distribution's BCC: apt-get install python3-bpfcc (Debian, Ubuntu), dnf install python3-bcc "
    "(Fedora, RHEL), pacman -S python-bcc (Arch), zypper install python3-bcc (openSUSE)"
)


def find_bcc(module: str = "") -> Path:
    """Return the folder that holds the package `bcc`.

    Args:
        module: the folder to look in; where it is empty, those in which distributions have it.

    Raises:
        BackendError: there is none; the message says whether another project's `bcc` was taken for it.
    """
    folders = [module] if module else [found for each in _FOLDERS for found in sorted(glob.glob(each))]  # noqa: PTH207
    found = next((Path(folder) for folder in folders if _is_bcc(Path(folder) / "bcc")), None)
    if found is not None:
        return found
    where = module or "any of the folders in which distributions have it"
    others = [Path(folder) / "bcc" for folder in folders]
    other = next((str(path) for path in others if path.is_dir()), other_bcc())
    if other:
        raise BackendError(
            f"backend 'bcc': {other} is not BCC but another project of that name, and BCC's module is not in {where}",
            hint=f"PyPI's bcc is unrelated; {INSTALL}",
        )
    raise BackendError(f"backend 'bcc': BCC's Python module is not in {where}", hint=INSTALL)


def bcc_version(folder: Path) -> str:
    """Return what a package `bcc` says of its version, in its own words."""
    return (folder / "bcc" / "version.py").read_text(encoding="utf-8", errors="replace")


def other_bcc() -> str:
    """Return where this environment has another project's `bcc`; empty where it has none."""
    try:
        spec = importlib.util.find_spec("bcc")
    except (ImportError, ValueError):
        return ""
    places: Iterable[str] = spec.submodule_search_locations or [spec.origin or ""] if spec else ()
    return next((place for place in places if not _is_bcc(Path(place))), "")


def _is_bcc(package: Path) -> bool:
    """Whether a package is BCC's: it alone has these two modules."""
    return (package / "libbcc.py").is_file() and (package / "version.py").is_file()
