"""Delivery: what became of each export. The SDK keeps a failure to itself and its log; users must hear of it once."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

__all__ = ["Delivery", "R"]

_MAX_REASON: Final = 300
_RPC_ERROR: Final = re.compile(
    r"(?:export (\w+) to .*)?error code: (?:StatusCode\.)?(\w+), error details: (.*)", re.DOTALL
)
_MAY_COME_BACK: Final = frozenset(
    {
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
)
"""The codes after which the OTLP specification lets a client send the same again; after others it must not."""
_PAUSE_SECONDS: Final = 1.0


class _Result(Protocol):
    """What an exporter returns: a member of one of three enums, each with a SUCCESS."""

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=_Result)
"""What an exporter of one signal returns."""


class Delivery:
    """Notes which signals were delivered and which were not. Called from the exporters' threads.

    Attributes:
        reason: why an export failed, in the words of the SDK or gRPC; of several failures that of the last.
        unusable: why no exporter could be made, such as a variable that cannot be read; empty if they could.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.unusable = ""
        self._delivered: set[str] = set()
        self._failed: set[str] = set()
        self._code: dict[str, str] = {}
        self._last_code = ""
        self._hurried = threading.Event()
        self._closed = False

    def insist(self, signal: str, export: Callable[[], R]) -> R:
        """Export as `attempt` does, again and again while nobody takes it; its caller's queue holds the rest meanwhile.

        It ends when it is taken, when it is refused for good, or after one more attempt once `hurry` was called.
        """

        def until_taken() -> R:
            self._code.pop(signal, None)
            while True:
                last = self._hurried.is_set()
                result = export()
                # The SDK does not log a failure that looks like the one before: neither of the same signal, whose code
                # stays from attempt to attempt, nor of another one.
                code = self._code.get(signal, self._last_code)
                if last or result.name == "SUCCESS" or code not in _MAY_COME_BACK:
                    return result
                self._hurried.wait(_PAUSE_SECONDS)

        return self.attempt(signal, until_taken)

    def hurry(self) -> None:
        """Insist no longer: the process is about to end."""
        self._hurried.set()

    def attempt(self, signal: str, export: Callable[[], R]) -> R:
        """Export, and note how it went; the result, or the exception, is passed on."""
        try:
            result = export()
        except Exception as error:
            self._failed.add(signal)
            self.complain(f"{type(error).__name__}: {error}")
            raise
        (self._delivered if result.name == "SUCCESS" else self._failed).add(signal)
        return result

    def cannot_begin(self, signal: str, error: Exception) -> None:
        """Note that a signal has no way out at all."""
        self._failed.add(signal)
        self.reason = self.unusable = f"{type(error).__name__}: {error}"

    def complain(self, reason: str) -> None:
        """Note why an export failed."""
        if not self._closed:
            rpc = _RPC_ERROR.search(reason)
            if rpc:
                self._code[rpc[1]] = self._last_code = rpc[2]
            words = " ".join((f"{rpc[2]}: {rpc[3]}" if rpc else reason).split())
            self.reason = words if len(words) <= _MAX_REASON else words[: _MAX_REASON - 1] + "…"

    def give_up(self, signals: Iterable[str], reason: str) -> None:
        """Note that these signals are not waited for any longer; what their exporters say from now on is no reason."""
        self._failed.update(signals)
        self.reason = self.reason or reason
        self._closed = True

    @property
    def failed(self) -> list[str]:
        """The signals of which something was not delivered."""
        return sorted(self._failed)

    @property
    def delivered(self) -> list[str]:
        """The signals of which something was delivered."""
        return sorted(self._delivered)

    @property
    def is_partial(self) -> bool:
        """Whether anything at all was delivered."""
        return bool(self._delivered)

    def listen(self, *loggers: str) -> None:
        """Take down what these loggers complain of, from now on, instead of letting it be shown.

        That lasts as long as the process: the SDK's threads may outlive everything else. Where the root logger shows
        debug messages, theirs are shown too.
        """
        for name in loggers:
            logger = logging.getLogger(name)
            logger.addHandler(_Listener(self))
            logger.propagate = logging.getLogger().isEnabledFor(logging.DEBUG)


class _Listener(logging.Handler):
    def __init__(self, delivery: Delivery) -> None:
        super().__init__(logging.ERROR)
        self._delivery = delivery

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._delivery.complain(record.getMessage())
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)
