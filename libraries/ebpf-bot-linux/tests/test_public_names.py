"""The public names: each can be had first, whatever has been imported before."""

from __future__ import annotations

import subprocess
import sys

import ebpf_bot_linux

ONE_BY_ONE = """
import sys
import numpy
for name in sys.argv[1:]:
    for module in [each for each in sys.modules if each.startswith("ebpf_bot_linux")]:
        del sys.modules[module]
    exec(f"from ebpf_bot_linux import {name}")
"""


def test_each_can_be_imported_first():
    subprocess.run([sys.executable, "-c", ONE_BY_ONE, *ebpf_bot_linux.__all__], check=True, timeout=60)


def test_modules_and_what_is_called_like_its_module_are_told_apart():
    assert ebpf_bot_linux.syscalls.__name__ == "ebpf_bot_linux.kernel.syscalls"
    assert callable(ebpf_bot_linux.loaded_as)


def test_all_of_them_are_listed():
    assert set(ebpf_bot_linux.__all__) <= set(dir(ebpf_bot_linux))
