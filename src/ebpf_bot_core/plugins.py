"""Finds plugins, loads each in isolation, and collects what they register."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

import attrs
import pluggy

from ebpf_bot_core import hookspecs, policies, reports, stores
from ebpf_bot_core.errors import PluginError
from ebpf_bot_core.nearest import did_you_mean
from ebpf_bot_core.registry import Registration, Registry

if TYPE_CHECKING:
    import click

    from ebpf_bot_core.policy import Policy
    from ebpf_bot_core.reports import Report
    from ebpf_bot_core.stages import ProbeInjector, SignalProcessor, SignalReceiver, SignalStore

__all__ = ["LoadedPlugin", "Plugins"]

_OURSELVES: Final = "ebpf-bot-core"


@attrs.define
class LoadedPlugin:
    """One plugin as it was found.

    Attributes:
        name: the entry point's name.
        distribution: name and version of the installed distribution; empty for one given in code.
        error: why it could not be used; empty if it can.
        provides: what it registered, as `store sqlite`.
    """

    name: str
    distribution: str = ""
    error: str = ""
    provides: list[str] = attrs.field(factory=list)


class Plugins:
    """The loaded plugins and their registries.

    Args:
        entries: the entry points to load; by default those of the group `ebpf_bot` that the environment variables
            `EBPF_BOT_PLUGINS` (only these) and `EBPF_BOT_DISABLE_PLUGINS` (not these) let through, both lists of
            names separated by commas.
    """

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self.injectors: Registry[ProbeInjector] = Registry("injector")
        self.receivers: Registry[SignalReceiver] = Registry("receiver")
        self.processors: Registry[SignalProcessor] = Registry("processor")
        self.stores: Registry[SignalStore] = Registry("store")
        self.policies: Registry[Policy] = Registry("policy")
        self.reports: Registry[Report] = Registry("report")
        registries: list[Registry[Any]] = [
            self.injectors,
            self.receivers,
            self.processors,
            self.stores,
            self.policies,
            self.reports,
        ]
        self._registries = {registry.kind: registry for registry in registries}
        self.loaded: list[LoadedPlugin] = []
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for module in (policies, reports, stores):
            self.add(module, name=module.__name__.rpartition(".")[2], distribution=_OURSELVES)
        for entry in _allowed() if entries is None else entries:
            dist = entry.dist
            self._adopt(LoadedPlugin(entry.name, f"{dist.name} {dist.version}" if dist else ""), entry.load)

    def add(self, plugin: object, *, name: str, distribution: str = "") -> LoadedPlugin:
        """Use an object that no entry point names: for the core's own, for tests and for embedding systems.

        Raises:
            PluginError: it could not be used.
        """
        loaded = self._adopt(LoadedPlugin(name, distribution), lambda: plugin)
        if loaded.error:
            raise PluginError(f"plugin {name!r} cannot be used: {loaded.error}")
        return loaded

    def implementations(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
        """Return (plugin name, function) of all that implement a hook.

        Each function takes all of the hook's arguments by keyword and passes on those that the plugin asked for: so
        every plugin can be called, and can fail, on its own.
        """
        caller = getattr(self._manager.hook, hook)
        return [(impl.plugin_name, _call_with_wanted(impl)) for impl in caller.get_hookimpls()]

    def get(self, kind: str, name: str) -> Registration[Any]:
        """Return what is registered under a name; a broken plugin that could have brought it is named.

        Args:
            kind: `injector`, `receiver`, `processor`, `store`, `policy` or `report`.

        Raises:
            PluginError: nothing is registered under that name.
        """
        registry = self._registries[kind]
        if name not in registry:
            for plugin in self.loaded:
                if plugin.error and name in (plugin.name, plugin.name.removeprefix("ebpf-bot-")):
                    raise PluginError(
                        f"{kind} {name!r} is not usable: plugin {plugin.name} failed to load: {plugin.error}",
                        hint=f"reinstall {plugin.distribution or plugin.name}, or choose another {kind}",
                    )
        return registry.get(name)

    def names(self, kind: str) -> list[str]:
        """Return the names registered for a kind (see `get`), sorted."""
        return sorted(registration.name for registration in self._registries[kind])

    def register_commands(self, group: click.Group) -> None:
        """Let plugins add their subcommands; one that fails is marked as broken and left out."""
        for name, function in self.implementations("ebpf_bot_register_commands"):
            try:
                function(group=group)
            except Exception as error:  # noqa: BLE001 - a plugin's defect must not take the command line down
                for plugin in self.loaded:
                    if plugin.name == name and not plugin.error:
                        plugin.error = _in_one_line(error)

    def _adopt(self, loaded: LoadedPlugin, load: Callable[[], object]) -> LoadedPlugin:
        """Load one plugin; whatever goes wrong is written down and disables this one alone."""
        plugin: object = None
        try:
            self._refuse_taken_name(loaded)
            plugin = load()
            if isinstance(plugin, type):
                raise TypeError("the entry point names a class; name a module or an instance")  # noqa: TRY301
            self._manager.register(plugin, name=loaded.name)
            self._refuse_unknown_hooks(plugin)
            self._collect(plugin, loaded)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - likewise, and some scripts exit when imported
            # Only this one: an earlier plugin may rightly bear the name.
            if plugin is not None and self._manager.get_plugin(loaded.name) is plugin:
                self._manager.unregister(plugin)
            loaded.error = _in_one_line(error)
        self.loaded.append(loaded)
        return loaded

    def _refuse_taken_name(self, loaded: LoadedPlugin) -> None:
        for other in self.loaded:
            if other.name == loaded.name and not other.error:
                raise PluginError(
                    f"the name {loaded.name!r} is taken by {other.distribution or 'a plugin given in code'}"
                )

    def _refuse_unknown_hooks(self, plugin: object) -> None:
        # pluggy's own check covers all plugins at once, so that one plugin's slip would be everyone's.
        for caller in self._manager.get_hookcallers(plugin) or []:
            if not caller.has_spec():
                near = did_you_mean(
                    caller.name, [name for name in vars(hookspecs) if name.startswith("ebpf_bot_")]
                )
                raise AttributeError(f"it implements {caller.name}, which is not a hook; {near}".rstrip("; "))

    def _collect(self, plugin: object, loaded: LoadedPlugin) -> None:
        collected: list[tuple[Registry[Any], Registration[Any]]] = []
        for registry in self._registries.values():
            hook = f"ebpf_bot_register_{_plural(registry.kind)}"
            for impl in getattr(self._manager.hook, hook).get_hookimpls():
                if impl.plugin is plugin:
                    _call_with_wanted(impl)(register=_collector(registry, loaded, collected))
        added: list[tuple[Registry[Any], Registration[Any]]] = []
        try:
            for registry, registration in collected:
                registry.add(registration)
                added.append((registry, registration))
        except PluginError:
            for registry, registration in added:
                registry.remove(registration)
            raise
        loaded.provides = [f"{registry.kind} {registration.name}" for registry, registration in added]


def _collector(
    registry: Registry[Any], loaded: LoadedPlugin, into: list[tuple[Registry[Any], Registration[Any]]]
) -> Callable[..., None]:
    def register(name: str, factory: Callable[..., Any], *, options: type | None = None) -> None:
        owner = loaded.distribution or loaded.name
        into.append((registry, Registration(name, factory, options, owner)))

    return register


def _in_one_line(error: BaseException) -> str:
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _call_with_wanted(impl: pluggy.HookImpl) -> Callable[..., Any]:
    def call(**facts: Any) -> Any:
        return impl.function(**{name: facts[name] for name in impl.argnames})

    return call


def _plural(kind: str) -> str:
    return "policies" if kind == "policy" else f"{kind}s"


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def _allowed() -> list[EntryPoint]:
    only, never = _names("EBPF_BOT_PLUGINS"), _names("EBPF_BOT_DISABLE_PLUGINS")
    found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name)
    return [entry for entry in found if (not only or entry.name in only) and entry.name not in never]
