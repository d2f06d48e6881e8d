"""The public names: documented, loaded lazily, and the same for type checkers as at run time."""

from __future__ import annotations

import ast
import inspect
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import ebpf_bot_core
import ebpf_bot_core.testing

SOURCE = Path(ebpf_bot_core.__file__)


def seen_by_type_checkers() -> dict[str, str]:
    """Return name -> module of what stands under `if TYPE_CHECKING`."""
    (block,) = (
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def attribute_docstring(module: Path, name: str) -> str:
    """Return the string that stands under an assignment."""
    body = ast.parse(module.read_text()).body
    for node, following in itertools.pairwise(body):
        match node, following:
            case (
                ast.Assign(targets=[target]) | ast.AnnAssign(target=target),
                ast.Expr(ast.Constant(str(text))),
            ) if ast.unparse(target) == name:
                return text
    return ""


def test_lazy_names_are_those_that_type_checkers_see():
    lazy = {name: f"ebpf_bot_core.{module}" for name, module in ebpf_bot_core._MODULE_OF.items()}
    assert lazy == seen_by_type_checkers()


def test_all_names_exist_and_are_listed_once():
    assert len(ebpf_bot_core.__all__) == len(set(ebpf_bot_core.__all__))
    assert set(ebpf_bot_core.__all__) <= set(dir(ebpf_bot_core))
    for name in ebpf_bot_core.__all__:
        assert getattr(ebpf_bot_core, name) is not None
    with pytest.raises(AttributeError):
        _ = ebpf_bot_core.no_such_name


@pytest.mark.parametrize("name", [*ebpf_bot_core.__all__])
def test_public_names_have_a_docstring(name):
    value = getattr(ebpf_bot_core, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__
        assert not value.__doc__.startswith(f"{name}("), "made up by dataclasses or attrs"
    else:
        module = SOURCE.with_name(f"{ebpf_bot_core._MODULE_OF.get(name, 'hookspecs')}.py")
        assert attribute_docstring(module, name)


@pytest.mark.parametrize("name", [*ebpf_bot_core.__all__])
def test_public_methods_have_a_docstring(name):
    value = getattr(ebpf_bot_core, name)
    for member, function in vars(value).items() if inspect.isclass(value) else ():
        if inspect.isfunction(function) and not member.startswith("_"):
            assert function.__doc__, f"{name}.{member}"


@pytest.mark.parametrize("name", ebpf_bot_core.testing.__all__)
def test_the_kit_is_documented(name):
    assert inspect.getdoc(getattr(ebpf_bot_core.testing, name))


def test_importing_the_package_loads_nothing_heavy():
    """A plugin that imports `hookimpl` must not pay for numpy, OpenTelemetry or rich."""
    code = (
        "import sys, ebpf_bot_core; from ebpf_bot_core import hookimpl;"
        "print([m for m in ('numpy', 'opentelemetry', 'rich', 'cattrs') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
