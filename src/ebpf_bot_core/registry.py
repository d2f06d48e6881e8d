"""Registry: the named things of one kind that plugins have registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import attrs

from ebpf_bot_core.errors import PluginError
from ebpf_bot_core.nearest import did_you_mean

__all__ = ["Register", "Registration", "Registry"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


@attrs.frozen
class Registration(Generic[T]):
    """One registered factory.

    Attributes:
        options: an attrs class of the options that a plan may give, or None for none.
        distribution: the installed distribution that brought it, with its version.
    """

    name: str
    factory: Callable[..., T]
    options: type | None
    distribution: str

    def build(self, options: Mapping[str, Any]) -> T:
        """Make the thing from a plan's options.

        Raises:
            PlanError: an unknown or malformed option, naming the nearest valid one.
        """
        from ebpf_bot_core.structure import structure  # noqa: PLC0415 - cattrs: registering must stay cheap

        if self.options is None:
            structure(options, _NoOptions, where=self.name)
            return self.factory()
        return self.factory(structure(options, self.options, where=self.name))


@attrs.frozen
class _NoOptions:
    """For things that take no options, so that any option given is refused like an unknown one."""


class Register(Protocol[T_contra]):
    """What a registering hook is given: call it once for each thing."""

    def __call__(self, name: str, factory: Callable[..., T_contra], *, options: type | None = None) -> None:
        """Register `factory` under `name`.

        Args:
            name: how plans and the command line name it; lower case, unique among all plugins.
            factory: called with no argument, or with one instance of `options`.
            options: an attrs class; its fields are the keys a plan may give.

        Raises:
            PluginError: the name is taken; the message names both distributions.
        """
        ...


class Registry(Generic[T]):
    """Name to registration; a name is never overridden.

    Args:
        kind: what is registered, in words, for errors: `store`, `policy`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._by_name: dict[str, Registration[T]] = {}
        self._disputed: dict[str, str] = {}

    def add(self, registration: Registration[T]) -> None:
        """Add one; PluginError if its name is taken, and from then on for everyone who asks for that name.

        To go on with the one that came first would be to let the order of loading choose.
        """
        taken = self._by_name.get(registration.name)
        if taken is not None:
            self._disputed[registration.name] = (
                f"{self.kind} {registration.name!r} is registered by both {taken.distribution} "
                f"and {registration.distribution}"
            )
            self._refuse_disputed(registration.name)
        self._by_name[registration.name] = registration

    def remove(self, registration: Registration[T]) -> None:
        """Take back one that was added."""
        del self._by_name[registration.name]

    def __iter__(self) -> Iterator[Registration[T]]:
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Registration[T]:
        """Return the registration of that name.

        Raises:
            PluginError: none has it, and the hint names the nearest, or all; or several claim it.
        """
        self._refuse_disputed(name)
        if name in self._by_name:
            return self._by_name[name]
        known = ", ".join(sorted(self._by_name)) or "none"
        guess = did_you_mean(name, self._by_name)
        raise PluginError(
            f"unknown {self.kind} {name[:80]!r}",
            hint=f"{guess + ' ' if guess else ''}installed: {known}; `ebpf-bot plugins` lists them",
        )

    def _refuse_disputed(self, name: str) -> None:
        if name in self._disputed:
            raise PluginError(
                self._disputed[name],
                hint="uninstall one of them, or switch one off with EBPF_BOT_DISABLE_PLUGINS",
            )
