"""The core's own policies, registered like anyone's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpf_bot_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core.policy import Policy
    from ebpf_bot_core.registry import Register


@hookimpl
def ebpf_bot_register_policies(register: Register[Policy]) -> None:
    """Register `random`, `priority` and `round-robin`."""
    register("random", _random)
    register("priority", _priority)
    register("round-robin", _round_robin)


def _random() -> Policy:
    from ebpf_bot_core.policies.random import RandomPolicy  # noqa: PLC0415 - it needs numpy

    return RandomPolicy()


def _priority() -> Policy:
    from ebpf_bot_core.policies.priority import PriorityPolicy  # noqa: PLC0415 - likewise

    return PriorityPolicy()


def _round_robin() -> Policy:
    from ebpf_bot_core.policies.round_robin import RoundRobinPolicy  # noqa: PLC0415 - likewise

    return RoundRobinPolicy()
