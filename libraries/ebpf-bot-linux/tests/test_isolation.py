"""Isolation: exactly the bad ones are found, with few attempts."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from ebpf_bot_linux.attaching.isolation import isolate
from ebpf_bot_linux.kernel.kernel_error import KernelError
from hypothesis import given, settings
from hypothesis import strategies as st


def refusing(bad, attempts):
    lock = threading.Lock()

    def attempt(members):
        with lock:
            attempts.append(len(members))
        found = sorted(set(members.tolist()) & bad)
        if found:
            raise KernelError(f"place {found[0]}", 524)

    return attempt


@settings(deadline=None)
@given(st.sets(st.integers(0, 200), min_size=1), st.data())
def test_exactly_those_are_found_that_are_refused_on_their_own(members, data):
    bad = data.draw(st.sets(st.sampled_from(sorted(members))))
    found = isolate(np.array(sorted(members), np.intp), refusing(bad, []))
    assert set(found) == bad
    assert all(f"place {member}" in error.message for member, error in found.items())


def test_few_among_many_take_few_attempts():
    attempts = []
    assert set(isolate(np.arange(5000), refusing({3, 1700, 1701, 4999}, attempts))) == {3, 1700, 1701, 4999}
    assert len(attempts) < 300


def test_what_is_not_a_refusal_is_not_taken_for_one():
    def attempt(members):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        isolate(np.arange(40), attempt)
