"""The one tree of errors: each says what went wrong in one line, and what to do about it in another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "BackendError",
    "BadUsageError",
    "EbpfBotError",
    "NothingAttachedError",
    "PatternError",
    "PlanError",
    "PluginError",
    "StageError",
    "StoreError",
    "blame",
]


class EbpfBotError(Exception):
    """Base of every error that this project raises on purpose.

    Args:
        message: one line, what went wrong and where.
        hint: one line, what the user can do about it; may be empty.

    The command line prints both and ends with exit status 2.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadUsageError(EbpfBotError):
    """A command line that asks for what cannot be done."""


class PatternError(EbpfBotError):
    """A probe name or pattern that cannot be read."""


class PlanError(EbpfBotError):
    """A plan that cannot be read, or that says something unknown."""


class PluginError(EbpfBotError):
    """A plugin that is not installed, could not be loaded, or is named twice."""


class BackendError(EbpfBotError):
    """An injector or receiver that cannot work here.

    Args:
        errno: the kernel's answer, where there was one.
        log: the verifier's or compiler's log, where there was one.
    """

    def __init__(self, message: str, *, hint: str = "", errno: int | None = None, log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = errno
        self.log = log


class NothingAttachedError(BackendError):
    """Not one probe of the plan could be attached; the reasons are stored as evidence all the same."""


class StoreError(EbpfBotError):
    """A store that cannot be opened, read or written."""


class StageError(EbpfBotError):
    """A stage raised something that it should not have: a defect of the plugin that supplied it."""


@contextmanager
def blame(stage: str, plugin: str) -> Iterator[None]:
    """Turn whatever a stage raises beside this tree's errors into a `StageError` that names the plugin."""
    try:
        yield
    except EbpfBotError:
        raise
    except Exception as error:
        raise StageError(
            f"{stage} {plugin!r} failed: {type(error).__name__}: {error}",
            hint=f"this is a defect of the plugin {plugin!r}; --debug shows where",
        ) from error
