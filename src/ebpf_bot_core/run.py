"""Run: one execution of a plan on one host, as stores keep it and reports show it."""

from __future__ import annotations

import enum
import platform
import uuid
from datetime import UTC, datetime
from pathlib import Path

import attrs

__all__ = ["Host", "Mode", "Run", "Scope"]


class Mode(enum.StrEnum):
    """How signals come: summed a probe, or each on its own."""

    COUNT = "count"
    STREAM = "stream"


class Scope(enum.StrEnum):
    """Whose signals count: those of everyone on the host, or of one command and all its children."""

    HOST = "host"
    COMMAND = "command"


@attrs.frozen
class Host:
    """The kernel that was probed.

    Attributes:
        boot_id: the kernel's random id of this boot; empty where /proc does not tell.
    """

    kernel: str
    machine: str
    boot_id: str

    @classmethod
    def here(cls) -> Host:
        """Return this host."""
        try:
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            boot_id = ""
        return cls(platform.release(), platform.machine(), boot_id)


@attrs.frozen
class Run:
    """What is known of one run beside its evidence; the newest record of an id is the one that counts.

    Attributes:
        started: RFC 3339, UTC.
        seconds: wall time so far.
        command: the command that was covered; empty where the whole host was.
        exit_status: the command's, 128+n where signal n ended it; None while it runs or without a command.
        finished: whether the run came to its end; False also for one that was killed.
        overhead_ratio: the share of one CPU that the probes cost their targets over the run so far, as the backend
            estimates it; None where it cannot.
        trace_id: 32 hex digits of the run's first trace; empty without an OpenTelemetry SDK.
    """

    id: str
    backend: str
    plan_name: str
    plan_digest: str
    host: Host
    mode: Mode = Mode.COUNT
    scope: Scope = Scope.HOST
    started: str = ""
    seconds: float = 0.0
    steps: int = 0
    command: tuple[str, ...] = ()
    exit_status: int | None = None
    finished: bool = False
    trace_id: str = ""
    overhead_ratio: float | None = None

    @classmethod
    def begin(
        cls,
        *,
        backend: str,
        plan_name: str,
        plan_digest: str,
        mode: Mode = Mode.COUNT,
        scope: Scope = Scope.HOST,
        command: tuple[str, ...] = (),
    ) -> Run:
        """Return the record of a run that starts now on this host."""
        started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return cls(
            id=uuid.uuid4().hex,
            backend=backend,
            plan_name=plan_name,
            plan_digest=plan_digest,
            host=Host.here(),
            mode=mode,
            scope=scope,
            started=started,
            command=command,
        )
