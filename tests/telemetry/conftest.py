"""Fixtures of the telemetry tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ebpf_bot_core import Plan, Plugins, UnifiedPipeline

from .recorder import Recorder
from .third_party import PROBES, own_stages


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def stages() -> dict[str, Any]:
    """One of each of somebody else's stages, to be changed before `pipeline` takes them."""
    return own_stages()


@pytest.fixture
def pipeline(recorder: Recorder, stages: dict[str, Any]) -> Callable[..., UnifiedPipeline]:
    """Return a function that makes a pipeline of those stages whose telemetry is recorded."""

    def make(*patterns: str, **settings: Any) -> UnifiedPipeline:
        given = {"plugins": Plugins([]), **stages, **recorder.providers, **settings}
        return UnifiedPipeline(Plan.of(patterns or PROBES), **given)

    return make
