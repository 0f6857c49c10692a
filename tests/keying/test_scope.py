"""Whose code counts: that of the program around a cached function, and of no library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.programs import Function, defined, digest, identity, install, run

from recallm.keying.scope import Scope, is_installed, is_of_library


@pytest.mark.parametrize(
    ("module", "other", "owned"),
    [
        ("shop.app", "shop.app", True),
        ("shop.app", "shop.prompts", True),
        ("shop.app", "shop", True),
        ("shop", "shop.deep.er", True),
        ("shop.app", "shopping", False),
        ("shop.app", "other.app", False),
        ("shop.app", "loose", False),
        ("loose", "shop.app", True),
        ("loose", "sibling", True),
        ("loose", "json", False),
        ("loose", "_thread", False),
        ("loose", "pytest", False),
        ("loose", "wrapt.decorators", False),
        ("loose", None, False),
    ],
)
def test_modules_of_one_package_belong_together(module: str, other: str | None, owned: bool) -> None:
    """Modules of a top-level package belong together; to one that lies in none belongs all that is not installed."""
    scope = Scope(module)
    assert scope.owns(other) is owned
    assert scope.owns(other) is owned


def test_nothing_counts_for_a_library() -> None:
    """If the function is a library's, not even the code of its own package counts."""
    assert not Scope("shop.app", library=True).owns("shop.app")
    assert not Scope("loose", library=True).owns("loose")


@pytest.mark.parametrize("name", ["__main__", "__mp_main__"])
def test_a_script_belongs_to_the_modules_beside_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a script, or a process that it spawned, belong all modules that are not installed, in packages or not."""
    for each in ("__main__", "__mp_main__"):
        script = ModuleType(each)
        script.__file__ = "/home/ada/app.py"
        monkeypatch.setitem(sys.modules, each, script)
    scope = Scope(name)
    assert scope.owns("sibling")
    assert scope.owns("__main__")
    assert Scope("sibling").owns(name)
    assert scope.owns("shop.app")
    assert not Scope("shop.app").owns(name)
    assert not scope.owns("json")


@pytest.mark.parametrize("name", ["__main__", "__mp_main__"])
def test_a_module_that_is_run_belongs_to_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by ``python -m shop.app``, a module belongs to ``shop``, and not to the loose modules."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec("shop.app", None)
    monkeypatch.setitem(sys.modules, name, module)
    scope = Scope(name)
    assert scope.owns("shop.prompts")
    assert scope.owns(name)
    assert not scope.owns("sibling")
    assert Scope("shop.prompts").owns(name)


def test_installed_modules_are_told_by_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in ``site-packages``, or comes with Python, is installed; a module of the program's folder is not."""
    places = {"far": "/usr/lib/python3/dist-packages/far.py", "near": "/home/ada/near.py"}
    for name, file in places.items():
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setattr(sys.modules[name], "__file__", file, raising=False)
    assert is_installed("json.decoder")
    assert is_installed("pytest")
    assert is_installed("far")
    assert not is_installed("near")
    assert not is_installed("nobody.knows")
    assert not Scope("near").owns("far")


def test_a_module_that_nobody_has_imported_yet_is_told_by_where_it_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that a script imports only when its function runs is a library before that, too."""
    for folder, name in [("site-packages", "late_library"), ("app", "late_module")]:
        package = tmp_path / folder / name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        monkeypatch.syspath_prepend(package.parent)
    assert is_installed("late_library")
    assert is_installed("late_library.inner")
    assert not is_installed("late_module")
    assert not Scope("__main__").owns("late_library")
    assert identity(defined("def f(q):\n import late_library\n return q")).missing is None
    assert identity(defined("def f(q):\n import late_module\n return q")).missing == "late_module"


def test_what_was_installed_beside_the_program_is_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder that pip has put packages into beside the program, only what pip wrote down is installed."""
    (tmp_path / "vendored_sdk" / "deep").mkdir(parents=True)
    (tmp_path / "vendored_sdk-1.0.dist-info").mkdir()
    (tmp_path / "vendored_sdk-1.0.dist-info" / "RECORD").write_text(
        "vendored_sdk/__init__.py,sha256=x,0\nvendored_sdk/deep/__init__.py,,\nvendored_one.py,sha256=y,1\n"
        "shared_name/sdk/__init__.py,,\n",
        encoding="utf-8",
    )
    (tmp_path / "shared_name" / "sdk").mkdir(parents=True)
    packages = ("vendored_sdk/__init__", "vendored_sdk/deep/__init__", "shared_name/sdk/__init__")
    for name in (*packages, "vendored_one", "own_handler", "shared_name/own"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    installed = ("vendored_sdk", "vendored_sdk.deep", "vendored_one", "shared_name.sdk")
    names = (*installed, "own_handler", "shared_name.own")
    assert [name for name in names if is_installed(name)] == [*installed]
    for name in names:
        import_module(name)
    assert [name for name in names if is_installed(name)] == [*installed]
    assert Scope("own_handler").owns("vendored_sdk.deep") is False
    for name in names:
        monkeypatch.delitem(sys.modules, name)


def test_an_installed_module_that_runs_now_caches_its_own() -> None:
    """A function of an installed module is a library's, unless that module's own code is running."""
    import_module("wrapt.decorators")
    asked: dict[str, Any] = run("def ask(fn, name): return fn(name)", module="wrapt.inner")
    ask: Callable[[Callable[[str], bool], str], bool] = asked["ask"]
    assert is_of_library("wrapt.decorators")
    assert not ask(is_of_library, "wrapt.decorators")
    assert not is_of_library("nobody.knows")


HELPER = "def build(q): return {}\n"
ASKING = "from {} import build\ndef f(q): return build(q)"


@pytest.mark.parametrize(
    ("module", "helper", "counts"),
    [
        ("shop.app", "shop.helpers", True),
        ("app", "helpers", True),
        ("shop.app", "other.helpers", False),
        ("app", "other.helpers", True),
        ("shop.app", "helpers", False),
    ],
)
def test_the_code_of_helpers_counts_within_the_program(
    module: str, helper: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper's code counts if it lies in the same package, or if the function lies in none."""

    def seen(text: str) -> bytes:
        packages = dict.fromkeys((each.partition(".")[0] for each in (helper, module) if "." in each), "")
        sources = {**packages, helper: HELPER.format(text), module: ASKING.format(helper)}
        fn: Function = vars(install(monkeypatch, sources)[module])["f"]
        return digest(fn)

    assert seen("q") == seen("q")
    assert (seen("q") != seen("q + 1")) is counts


def test_a_function_of_a_library_counts_by_what_it_is_bound_to(tmp_path: Path) -> None:
    """The code of the standard library does not count, the values given to it do."""
    assert digest(tmp_path.joinpath) != digest((tmp_path / "a").joinpath)
    assert digest(tmp_path.joinpath) == digest(Path(tmp_path).joinpath)
    assert digest(defined("import textwrap\ndef f(q): return textwrap.dedent(q)")) != digest(
        defined("import textwrap\ndef f(q): return textwrap.indent(q)")
    )
