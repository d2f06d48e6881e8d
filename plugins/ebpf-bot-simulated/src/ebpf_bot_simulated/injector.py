"""The injector: finds probes on the simulated host and opens injections on them."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_bot_core import Evidence, Mode, ProbePattern, ProbeTable, Scope
from ebpf_bot_simulated.catalogue import KNOWN_FAULTS, Catalogue
from ebpf_bot_simulated.faults import FAULTS
from ebpf_bot_simulated.finding import find
from ebpf_bot_simulated.injection import SimulatedInjection
from ebpf_bot_simulated.mishaps import Mishaps
from ebpf_bot_simulated.options import SimulatedOptions
from ebpf_bot_simulated.rules import Rules

__all__ = ["SimulatedInjector"]


class SimulatedInjector:
    """A `ProbeInjector` that needs no kernel, no privileges and no files."""

    modes = frozenset(Mode)

    def __init__(self, options: SimulatedOptions | None = None) -> None:
        self._options = options or SimulatedOptions()
        self._catalogue = Catalogue(self._options.binaries)
        stated = (self._options.faults, KNOWN_FAULTS)
        self._faults = Rules(*({probe: FAULTS[code] for probe, code in table.items()} for table in stated))
        self._mishaps = Mishaps(self._options.fail_at)

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which probes the patterns name: exact names at their word, wildcards from the catalogue."""
        self._mishaps.befall("find")
        return find(patterns, self._catalogue, self._faults)

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> SimulatedInjection:
        """Open an injection on probes; all injections see the same world, each from its own first tick."""
        self._mishaps.befall("open")
        return SimulatedInjection(
            probes, self._options, self._faults, self._mishaps, scope=scope, mode=mode, keep=keep
        )

    def close(self) -> None:
        """Do nothing: it holds nothing."""
