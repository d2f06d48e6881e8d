"""The page `docs/agreement.md`: what stands between its markers is written here, all of it from one run."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping

__all__ = ["machine", "renew"]


def machine(command: str) -> str:
    """Return a sentence about what the run was made with."""
    tools = ", ".join(_version(tool) for tool in ("gcc", "valgrind"))
    return f"The tables are those of one run of `{command}`: Linux {platform.release()}, {tools}."


def renew(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with each part anew; the text around them stays.

    Raises:
        ValueError: the page has not exactly one pair of markers for a part.
    """
    for name, text in parts.items():
        marked = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        if len(marked.findall(page)) != 1:
            raise ValueError(f"the page has no place for {name!r}, or several")
        # Split and joined, since a replacement would read backslashes in the text.
        before, begin, end, after = marked.split(page)
        page = f"{before}{begin}\n{text.strip()}\n\n{end}{after}"
    return page


def _version(tool: str) -> str:
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d[\d.]*", said.splitlines()[0].rpartition(")")[2])
    return f"{tool} {found[0]}" if found else tool
