"""The conformance kit for injectors and receivers: what every backend must do, one promise a test."""

from __future__ import annotations

from typing import Any

from ebpf_bot_core.testing.injector_attaching import AttachingTests, ClosingTests
from ebpf_bot_core.testing.injector_finding import HOSTILE_PATTERNS, FindingTests
from ebpf_bot_core.testing.injector_signals import ScopeTests, SignalTests

__all__ = ["HOSTILE_PATTERNS", "InjectorTests"]


class InjectorTests(FindingTests, AttachingTests, SignalTests, ScopeTests, ClosingTests):
    """Promises of `ProbeInjector`, `Injection` and `SignalReceiver`; a backend subclasses this as a pytest class.

    It overrides the methods of `InjectorHost`, and states there what it can do; tests of what it cannot do are not
    collected. Every test opens injections of its own.

    Example:
        class TestMine(InjectorTests):
            modes = frozenset({Mode.COUNT, Mode.STREAM})
            def make_injector(self): return MyInjector()
            def make_receiver(self): return MyReceiver()
            def patterns(self): return ["uprobe:/opt/target:work_*"]
            def trigger(self, injection, probes, times):
                with injection.follow():
                    child = subprocess.Popen(["/opt/target", str(times), *probes])
                child.wait()
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in dir(InjectorTests):
            test = getattr(InjectorTests, name)
            condition = getattr(test, "needs", None)
            if condition is not None and name not in vars(cls):
                setattr(cls, name, test if condition(cls) else None)
