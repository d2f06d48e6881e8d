"""Fetching the sources of Debian packages, with a configuration of apt's own that changes nothing of the system's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

__all__ = ["Archive"]

_ARCHIVES = ("Debian", "Ubuntu")
"""What `Label:` says of the archives that carry the packages."""
_FORMAT = "$(LABEL)|$(REPO_URI)|$(CODENAME)|$(RELEASE)|$(COMPONENT)"


class Archive:
    """The source packages of the release that this machine runs, from where its binary packages come.

    apt verifies them by the keys that it trusts here.

    Args:
        folder: holds apt's state and what is fetched; made where it is not there.

    Raises:
        SystemExit: apt does not know an archive here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        (self._folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (self._folder / "cache").mkdir(exist_ok=True)
        sources = self._folder / "sources.list"
        sources.write_text(_sources())
        self._options = [
            f"-oDir::Etc::sourcelist={sources}",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::lists={self._folder / 'lists'}",
            f"-oDir::Cache={self._folder / 'cache'}",
            "-oAPT::Sandbox::User=root",
        ]
        self._apt("update")

    def unpack(self, package: str, into: Path) -> str:
        """Unpack the authors' source of a package, without Debian's patches; return its version.

        Raises:
            SystemExit: it cannot be had.
        """
        fetched = self._folder / package
        fetched.mkdir(exist_ok=True)
        self._apt("source", "--download-only", package, cwd=fetched)
        (description,) = fetched.glob("*.dsc")
        (archive,) = [
            path for path in fetched.iterdir() if re.search(r"\.orig\.tar\.(gz|bz2|xz)$", path.name)
        ]
        into.mkdir(parents=True)
        subprocess.run(["tar", "-xf", archive, "-C", into], check=True)
        # Most archives hold one directory, some the files themselves.
        inside = list(into.iterdir())
        if len(inside) == 1 and inside[0].is_dir():
            whole = inside[0].rename(into.with_name(f"{into.name}.whole"))
            into.rmdir()
            whole.rename(into)
        version = re.search(r"^Version: (\S+)$", description.read_text(), re.MULTILINE)
        return version[1] if version else "?"

    def _apt(self, *arguments: str, cwd: Path | None = None) -> None:
        done = subprocess.run(
            ["apt-get", "-qq", *self._options, *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise SystemExit(f"apt-get {' '.join(arguments)} failed:\n{done.stderr}")


def _sources() -> str:
    """Return a sources.list of the archives that this machine's apt has packages from, for sources."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", _FORMAT, "Identifier: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = set()
    for line in listed.splitlines():
        label, uri, codename, release, component = line.split("|")
        if label in _ARCHIVES and component == "main" and release == codename:
            lines.add(f"deb-src {uri} {release} {component}\n")
    if not lines:
        raise SystemExit("apt knows no archive of Debian here; run `apt-get update` once")
    return "".join(sorted(lines))
