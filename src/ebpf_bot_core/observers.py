"""Tells plugins what happens in a run; what they do with it cannot break the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ebpf_bot_core.plugins import Plugins
from ebpf_bot_core.telemetry.logs import traced_logger

__all__ = ["Observers"]

_log = traced_logger(__name__)


class Observers:
    """Calls the observing hooks of the loaded plugins.

    Args:
        on_error: called with the hook's name and the exception, so that failures are counted.
    """

    def __init__(self, plugins: Plugins, on_error: Callable[[str, Exception], None]) -> None:
        self._on_error = on_error
        self._listeners = {
            event: plugins.implementations(f"ebpf_bot_{event}")
            for event in ("run_started", "step_finished", "verdict_changed", "run_finished")
        }

    def tell(self, event: str, **facts: Any) -> None:
        """Call everyone who listens for `event`."""
        for plugin, function in self._listeners[event]:
            try:
                function(**facts)
            except Exception as error:  # noqa: BLE001 - an observer's defect must not break the run
                _log.exception("plugin %s failed to observe %s", plugin, event)
                self._on_error(event, error)
