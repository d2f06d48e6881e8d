"""What the tests of this plugin share."""

from __future__ import annotations

import pytest
from ebpf_bot_bcc.bcc_module import find_bcc
from ebpf_bot_bcc.compiling import Compiler

from ebpf_bot_core import BackendError


@pytest.fixture(scope="session")
def compiler():
    """One for all, so that what they have in common is compiled once; where there is no BCC, they are skipped."""
    try:
        find_bcc()
    except BackendError as error:
        pytest.skip(f"{error.message}; {error.hint}")
    return Compiler()


@pytest.fixture(autouse=True)
def live_tests_need_bcc(request):
    if request.node.get_closest_marker("live"):
        request.getfixturevalue("compiler")
