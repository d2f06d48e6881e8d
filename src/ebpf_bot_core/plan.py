"""Plan: what is expected, within which budget, by which stages. Read from TOML or from the command line."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from ebpf_bot_core.errors import PatternError, PlanError
from ebpf_bot_core.probe import ProbePattern
from ebpf_bot_core.structure import converter, structure

__all__ = ["Budget", "Expectation", "Goal", "Percent", "Plan", "StageChoice", "Stages"]

_NUMBER: Final = re.compile(r"\d+(\.\d+)?")
_MAX_PLAN_BYTES: Final = 256 << 20
"""A plan of a million names is some 100 MiB; anything larger is a mistake or an attack."""


def _positive(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value}")


def _percent(_: object, __: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value <= 100:  # noqa: PLR2004 - percent
        raise ValueError(f"a percentage is from 0 to 100, not {value:g}")


@attrs.frozen
class Percent:
    """A percentage as people write it."""

    value: float = attrs.field(validator=_percent)

    @classmethod
    def parse(cls, value: object) -> Percent:
        """Read `1`, `1.5`, `"1%"` or `"1.5 %"`.

        Raises:
            ValueError: it is none of these, or not from 0 to 100.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(float(value))
        if isinstance(value, str):
            number = value.strip().removesuffix("%").strip()
            if _NUMBER.fullmatch(number):
                return cls(float(number))
        raise ValueError(f"expected a percentage such as 85 or '85%', not {value!r}")

    @property
    def ratio(self) -> float:
        """The same from 0 to 1."""
        return self.value / 100


@attrs.frozen
class Expectation:
    """Probes that are expected to fire.

    Attributes:
        priority: probes of higher priority are attached first where the budget does not reach for all.
    """

    probes: tuple[ProbePattern, ...] = attrs.field(validator=attrs.validators.min_len(1))
    priority: float = 1.0


@attrs.frozen
class Budget:
    """What the run may cost.

    Attributes:
        max_attached: how many probes may be attached at once; None for as many as the kernel takes.
        max_overhead: the share of one CPU that the probes may cost the target.
    """

    max_attached: int | None = attrs.field(default=None, validator=_positive)
    max_overhead: Percent | None = None


@attrs.frozen
class Goal:
    """What must be reached.

    Attributes:
        fail_under: the coverage ratio under which the run fails.
    """

    fail_under: Percent | None = None


@attrs.frozen
class StageChoice:
    """A plugin by name, and the options for it."""

    name: str
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Stages:
    """Which plugins serve the stages. An empty receiver is that of the injector's name."""

    injector: StageChoice = StageChoice("libbpf")
    receiver: StageChoice | None = None
    processors: tuple[StageChoice, ...] = ()
    store: StageChoice = StageChoice("sqlite")
    policy: StageChoice = StageChoice("priority")


@attrs.frozen
class _Heading:
    """The table `[plan]`."""

    name: str


@attrs.frozen
class _Document:
    """The tables of a plan file."""

    plan: _Heading
    expect: tuple[Expectation, ...]
    budget: Budget = Budget()
    goal: Goal = Goal()
    stages: Stages = Stages()


@attrs.frozen
class Plan:
    """What is expected of this host, in which budget, by which stages."""

    name: str
    expect: tuple[Expectation, ...]
    budget: Budget = Budget()
    goal: Goal = Goal()
    stages: Stages = Stages()

    @classmethod
    def read(cls, path: Path | str) -> Plan:
        """Read a plan from a TOML file.

        Raises:
            PlanError: naming the file, the key and the nearest valid one; PatternError for a bad pattern in it.
        """
        path = Path(path)
        try:
            if not path.is_file():
                raise PlanError(
                    f"{path}: no such plan file", hint="give a TOML file, or use --expect PATTERN"
                )
            if path.stat().st_size > _MAX_PLAN_BYTES:
                raise PlanError(f"{path}: larger than {_MAX_PLAN_BYTES >> 20} MiB; this is no plan")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise PlanError(f"{path}: {error.strerror}", hint="check the path and its permissions") from error
        except UnicodeDecodeError as error:
            raise PlanError(f"{path}: not UTF-8 text", hint="a plan is a TOML file") from error
        return cls.parse(text, where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str) -> Plan:
        """Read a plan from TOML text; `where` names it in errors, which are those of `read`."""
        try:
            data = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise PlanError(f"{where}: not valid TOML: {error}", hint="see the plan reference") from error
        document = structure(data, _Document, where=where)
        if not document.expect:
            raise PlanError(f"{where}: nothing is expected", hint="add [[expect]] with probes = [...]")
        return cls(document.plan.name, document.expect, document.budget, document.goal, document.stages)

    @classmethod
    def of(cls, patterns: Sequence[str], *, name: str = "cli") -> Plan:
        """Return a plan that expects these patterns and leaves the rest at its defaults.

        Raises:
            PatternError: a malformed pattern.
        """
        return cls(name, (Expectation(tuple(ProbePattern.parse(text) for text in patterns)),))

    @property
    def patterns(self) -> tuple[ProbePattern, ...]:
        """All expected patterns, in the plan's order."""
        return tuple(pattern for expectation in self.expect for pattern in expectation.probes)

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of the canonical JSON of everything in the plan."""
        data = json.dumps(_plain.unstructure(self), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(data.encode()).hexdigest()


def _read_pattern(value: object, _: type) -> ProbePattern:
    if not isinstance(value, str):
        raise PatternError(f"a probe pattern is a string, not {value!r}"[:200])
    return ProbePattern.parse(value)


def _read_choice(value: object, _: type) -> StageChoice:
    if isinstance(value, str):
        return StageChoice(value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return StageChoice(value["name"], {key: item for key, item in value.items() if key != "name"})
    raise TypeError('expected a plugin\'s name, or a table such as { name = "sqlite", path = "x.db" }')


converter.register_structure_hook(ProbePattern, _read_pattern)
converter.register_structure_hook(StageChoice, _read_choice)
converter.register_structure_hook(StageChoice | None, _read_choice)
converter.register_structure_hook(Percent, lambda value, _: Percent.parse(value))

_plain: Final = converter.copy()
_plain.register_unstructure_hook(ProbePattern, str)
