"""What a backend tells the injector kit about itself, and the few moves that its tests are made of."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeVar

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from ebpf_bot_core.probe import ProbeKind, ProbePattern, ProbeTable
from ebpf_bot_core.run import Mode, Scope
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.stages import Injection, ProbeInjector, SignalReceiver
from ebpf_bot_core.verdicts import Verdict

__all__ = ["InjectorHost", "fired", "needs", "rows"]

F = TypeVar("F", bound=Callable[..., object])

_QUIET: Final = 0.1
"""Seconds in which a hit that should not have been counted would have come."""

_MOST_PROBES: Final = 8
_ABSENT_NAMES: Final = {
    ProbeKind.USDT: "ebpf_bot:no_such_",
    ProbeKind.SOFTWARE: "ebpf-bot-no-such:",
}


class InjectorHost:
    """The part of `InjectorTests` that a backend overrides.

    Attributes:
        modes: the modes to test; they must be those of the injector.
        scopes: the scopes that the backend tells apart; scope `HOST` is always tested.
        exact_counts: whether every hit is counted where hits are kept. A sampling backend says False.
        patience: seconds within which a hit is received, however slow the machine.
    """

    modes: ClassVar[frozenset[Mode]] = frozenset({Mode.COUNT})
    scopes: ClassVar[frozenset[Scope]] = frozenset({Scope.HOST})
    exact_counts: ClassVar[bool] = True
    patience: ClassVar[float] = 5.0

    def make_injector(self) -> ProbeInjector:
        """Return a new injector; the kit closes it."""
        raise NotImplementedError

    def make_receiver(self) -> SignalReceiver:
        """Return a new receiver for what the injector opens; the kit closes it."""
        raise NotImplementedError

    def patterns(self) -> Sequence[str]:
        """Return patterns that together name three probes or more which nothing else on this host hits."""
        raise NotImplementedError

    def absent(self) -> Sequence[str]:
        """Return patterns that match nothing here: by default the targets of `patterns` with other names."""
        absent = []
        for pattern in map(ProbePattern.parse, self.patterns()):
            name = _ABSENT_NAMES.get(pattern.kind, "ebpf_bot_no_such_")
            absent += [str(attrs.evolve(pattern, name=f"{name}{end}")) for end in ("*", "0")]
        return tuple(dict.fromkeys(absent))

    def stubborn(self) -> str:
        """Return the name of a probe that `find` calls pending and `attach` refuses; override it if there is one."""
        raise NotImplementedError

    def trigger(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        """Make each of `probes` fire exactly `times`, and return when they have.

        A real backend starts one process that does it, within `injection.follow()`, and waits for its end.
        """
        raise NotImplementedError

    def trigger_in_child(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        """Do as `trigger`, but let a child of the followed process fire. Needed for scope `COMMAND`."""
        raise NotImplementedError

    def trigger_elsewhere(self, probes: Sequence[str], times: int) -> None:
        """Do as `trigger` in a process that no one follows. Needed for scope `COMMAND`."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test that has a `mode` in all modes of the backend."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", sorted(self.modes), ids=str)

    @pytest.fixture
    def injector(self) -> Iterator[ProbeInjector]:
        """Yield an injector of the backend."""
        injector = self.make_injector()
        yield injector
        injector.close()

    @pytest.fixture
    def receiver(self) -> Iterator[SignalReceiver]:
        """Yield a receiver of the backend."""
        receiver = self.make_receiver()
        yield receiver
        receiver.close()

    @pytest.fixture
    def probes(self, injector: ProbeInjector) -> ProbeTable:
        """Return three to eight probes of this host that can fire."""
        found = injector.find([ProbePattern.parse(text) for text in self.patterns()])
        names = [row.probe for row in found if row.verdict is Verdict.PENDING]
        if len(names) < 3:
            raise ValueError(f"the kit needs three probes that can fire; patterns() names {names}")
        return ProbeTable.of(names[:_MOST_PROBES])

    def received(self, receiver: SignalReceiver, injection: Injection, expected: int) -> list[SignalBatch]:
        """Receive until `expected` hits have come, or patience ends; then look whether more come than expected."""
        deadline = time.monotonic() + self.patience
        batches = [receiver.receive(injection, 0)]
        while sum(batch.total for batch in batches) < expected and time.monotonic() < deadline:
            batches.append(receiver.receive(injection, _QUIET))
        batches.append(receiver.receive(injection, _QUIET))
        return batches

    def expect_hits(self, counted: dict[str, int], expected: dict[str, int]) -> None:
        """Assert that these probes fired, no others, and exactly so often if the backend counts exactly."""
        if self.exact_counts:
            assert counted == expected
        else:
            assert set(counted) == set(expected)


def rows(probes: ProbeTable, *names: str) -> NDArray[np.intp]:
    """Return the rows of some names, or of all probes where none is given."""
    return probes.positions(names) if names else np.arange(len(probes))


def fired(batches: Sequence[SignalBatch]) -> dict[str, int]:
    """Return how often each probe fired that did."""
    counts: Counter[str] = Counter()
    for batch in batches:
        for signal in batch:
            counts[signal.probe] += signal.count
    return dict(counts)


def needs(condition: Callable[[type[InjectorHost]], bool]) -> Callable[[F], F]:
    """Mark a test as one for those backends alone that meet a condition; for others it is not collected."""

    def mark(test: F) -> F:
        marked: Any = test
        marked.needs = condition
        return test

    return mark
