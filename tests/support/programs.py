"""Small programs whose functions are read for their identity: from source, in modules, or in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recallm.keying.identity import FunctionIdentity, Identity
from recallm.keying.ignoring import ignore_tree
from recallm.keying.tokens import Tokens

if TYPE_CHECKING:
    import pytest

Function = Callable[..., Any]

ROOT = Path(__file__).parents[2]


def read(fn: Function, *ignore: str, version: str | None = None) -> FunctionIdentity:
    """Return what reads a function's identity, as a fresh process would."""
    return FunctionIdentity(fn, ignore_tree(ignore), Tokens(partial(os.urandom, 16)), version)


def identity(fn: Function, *ignore: str, version: str | None = None) -> Identity:
    """Return a function's identity as a fresh process would see it now."""
    return read(fn, *ignore, version=version)()


def digest(fn: Function, *ignore: str, version: str | None = None) -> bytes:
    """Return the digest of a function as a fresh process would see it now."""
    return identity(fn, *ignore, version=version).digest


def run(source: str, values: Mapping[str, Any] | None = None, module: str = "somewhere") -> dict[str, Any]:
    """Return the namespace that a source leaves behind, in a module that nobody can import.

    Args:
        source: what is run.
        values: globals that are there before.
        module: name of the module.
    """
    made = ModuleType(module)
    made.__package__ = module.rpartition(".")[0]
    namespace = vars(made)
    namespace.update(values or {})
    sys.modules[module] = made  # dataclasses look there for the names in annotations
    try:
        exec(source, namespace)  # noqa: S102  # the sources are those of the tests
    finally:
        del sys.modules[module]
    return namespace


def defined(source: str, **values: Any) -> Function:
    """Return the function ``f`` that a source defines, in a module always of the same name."""
    fn: Function = run(source, values)["f"]
    return fn


def install(monkeypatch: pytest.MonkeyPatch, sources: Mapping[str, str]) -> dict[str, ModuleType]:
    """Put modules into `sys.modules` for one test, and return them by name.

    Args:
        monkeypatch: takes them out again.
        sources: by dotted name, the source of each module, in the order in which they are run; a name without a dot
            that others lie under is a package.
    """
    modules: dict[str, ModuleType] = {}
    for name, source in sources.items():
        module = modules[name] = ModuleType(name)
        around, _, own = name.rpartition(".")
        module.__package__ = around
        if any(other.startswith(f"{name}.") for other in sources):
            module.__path__ = []
            module.__package__ = name
        monkeypatch.setitem(sys.modules, name, module)
        if around in modules:
            setattr(modules[around], own, module)
        exec(source, vars(module))  # noqa: S102  # the sources are those of the tests
    return modules


def run_python(*command: str, folder: Path, **environ: str) -> str:
    """Run Python in a process of its own, and return what it printed.

    Args:
        command: what follows ``python``.
        folder: where it runs; modules there can be imported.
        environ: changes to its environment.
    """
    path = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environ}
    ran = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    if ran.returncode:
        raise RuntimeError(f"{command}: {ran.stderr}")
    return ran.stdout
