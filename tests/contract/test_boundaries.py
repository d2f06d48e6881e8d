"""Which part may know which, and what no part may do."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import ebpf_bot_core
import ebpf_bot_core.testing

MOST_LINES = 300


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of everything that a module imports; name is empty for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_modules_are_short(core_modules, plugin_modules):
    sizes = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*core_modules, *plugin_modules]
    }
    assert {str(path): size for path, size in sizes.items() if size > MOST_LINES} == {}


def test_plugins_use_public_names_only(root, plugin_modules):
    public = {
        "ebpf_bot_core": set(ebpf_bot_core.__all__),
        "ebpf_bot_core.testing": set(ebpf_bot_core.testing.__all__),
    }
    everything = [
        *plugin_modules,
        *root.glob("libraries/*/tests/**/*.py"),
        *root.glob("plugins/*/tests/**/*.py"),
        *(root / "examples").rglob("*.py"),
    ]
    wrong = [
        f"{path.relative_to(root)}: {module} {name}"
        for path in everything
        for module, name in imports(path)
        if module.partition(".")[0] == "ebpf_bot_core" and name not in public.get(module, set())
    ]
    assert wrong == []


def packages(root: Path, where: str) -> set[str]:
    return {path.name for path in (root / where).glob("*/src/*") if path.is_dir()}


def test_plugins_do_not_know_each_other(root, plugin_modules):
    for path in plugin_modules:
        own = path.relative_to(root).parts[3]
        others = {module.partition(".")[0] for module, _ in imports(path)} & packages(root, "plugins") - {own}
        assert not others, f"{path}: {others}"


def test_plugins_use_the_public_names_of_libraries_only(root, plugin_modules):
    public = {name: set(importlib.import_module(name).__all__) for name in packages(root, "libraries")}
    wrong = [
        f"{path.relative_to(root)}: {module} {name}"
        for path in plugin_modules
        for module, name in imports(path)
        if (library := module.partition(".")[0]) in public
        and path.relative_to(root).parts[3] != library
        and (module != library or name not in public[library])
    ]
    assert wrong == []


def test_the_core_knows_no_plugin_and_no_library(root, core_modules):
    known = packages(root, "plugins") | packages(root, "libraries")
    assert len(known) >= 5
    for path in core_modules:
        assert not {module.partition(".")[0] for module, _ in imports(path)} & known, path


def test_two_modules_know_the_sdk(core_modules, plugin_modules):
    knows = {
        path.name
        for path in [*core_modules, *plugin_modules]
        if any(
            module.startswith(
                ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.instrumentation")
            )
            for module, _ in imports(path)
        )
    }
    assert knows == {"sdk.py", "exporters.py"}


def nodes(paths: Iterable[Path]) -> Iterator[tuple[Path, ast.AST]]:
    """Yield every node of every module."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def is_banned(node: ast.AST) -> bool:
    """Say whether a node catches everything, raises what says nothing, or prints."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.Raise(exc=ast.expr() as raised):
            return ast.unparse(raised).partition("(")[0] in ("Exception", "BaseException")
        case ast.Call(func=function):
            return ast.unparse(function) in ("print", "builtins.print")
    return False


def test_no_bare_except_no_bare_exception_no_print(core_modules, plugin_modules):
    found = nodes([*core_modules, *plugin_modules])
    assert [f"{path}:{node.lineno}" for path, node in found if is_banned(node)] == []


def test_only_programs_exit(core_modules, plugin_modules):
    """The command line, and the worker, which is started as a process of its own."""
    exits = {
        f"{path.parent.name}/{path.name}"
        for path, node in nodes([*core_modules, *plugin_modules])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "exit", "quit")
    }
    assert exits == {"cli/__init__.py", "ebpf_bot_bcc/worker.py"}
