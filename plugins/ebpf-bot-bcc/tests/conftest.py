"""What the tests of this plugin share."""

from __future__ import annotations

import pytest
from ebpf_bot_bcc.compiling import Compiler


@pytest.fixture(scope="session")
def compiler():
    """One for all, so that what they have in common is compiled once."""
    return Compiler()
