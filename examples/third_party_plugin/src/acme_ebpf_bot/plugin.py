"""The entry point: says what this distribution supplies. Heavy imports wait until a stage is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ebpf_bot_core import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core import ProbeInjector, Register, SignalProcessor, SignalReceiver, SignalStore


@attrs.frozen
class ThreadsOptions:
    """Options of `only-threads`."""

    names: tuple[str, ...] = ("*",)


@attrs.frozen
class RecordsOptions:
    """Options of `records`."""

    path: str = "coverage.records"


@attrs.frozen
class LogOptions:
    """Options of `bpftrace-log`: the output of `bpftrace -l`, and the file that bpftrace writes to."""

    listing: str
    log: str


@hookimpl
def ebpf_bot_register_processors(register: Register[SignalProcessor]) -> None:
    """Register `only-threads`."""
    register("only-threads", _threads, options=ThreadsOptions)


@hookimpl
def ebpf_bot_register_stores(register: Register[SignalStore]) -> None:
    """Register `records`."""
    register("records", _records, options=RecordsOptions)


@hookimpl
def ebpf_bot_register_injectors(register: Register[ProbeInjector]) -> None:
    """Register the injector `bpftrace-log`."""
    register("bpftrace-log", _injector, options=LogOptions)


@hookimpl
def ebpf_bot_register_receivers(register: Register[SignalReceiver]) -> None:
    """Register its receiver, under the same name: so it is the injector's default."""
    register("bpftrace-log", _receiver)


def _threads(options: ThreadsOptions) -> SignalProcessor:
    from acme_ebpf_bot.threads import OnlyThreads  # noqa: PLC0415 - it needs numpy

    return OnlyThreads(options.names)


def _records(options: RecordsOptions) -> SignalStore:
    from acme_ebpf_bot.records import RecordStore  # noqa: PLC0415 - likewise

    return RecordStore(options.path)


def _injector(options: LogOptions) -> ProbeInjector:
    from acme_ebpf_bot.bpftrace_log import LogInjector  # noqa: PLC0415 - likewise

    return LogInjector(options.listing, options.log)


def _receiver() -> SignalReceiver:
    from acme_ebpf_bot.bpftrace_log import LogReceiver  # noqa: PLC0415 - likewise

    return LogReceiver()
