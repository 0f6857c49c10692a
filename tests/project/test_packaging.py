"""The dependencies and files in ``pyproject.toml`` are those that the package and its distributions need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import recallm

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(recallm.__file__).parent.rglob("*.py")))


MODULES = {"opentelemetry_api": "opentelemetry"}
"""The modules of distributions that are called otherwise."""


def modules(requirements: list[str]) -> set[str]:
    """Return the modules that the distributions of these names hold."""
    names = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in requirements}
    return {MODULES.get(name, name) for name in names}


def test_every_dependency_is_imported() -> None:
    """The package imports every dependency of recallm and of each extra."""
    extras = PROJECT["optional-dependencies"].values()
    required = modules([*PROJECT["dependencies"], *(requirement for extra in extras for requirement in extra)])
    unused = {name for name in required if not re.search(rf"\b(import|from) {name}\b|[\"']{name}\b", SOURCES)}
    assert unused == set()


def test_what_a_source_distribution_includes_is_there() -> None:
    """Each path that the source distribution lists exists, and the tests can be run from it."""
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [path for path in included if not (ROOT / path).exists()] == []
    assert {"recallm", "tests", "examples", "README.md", ".ci/run"} <= set(included)


def test_pictures_are_small_and_stay_out_of_distributions() -> None:
    """The README's pictures are left out of what is downloaded, and each is small."""
    pictures = ROOT / "examples" / "pictures"
    assert str(pictures.relative_to(ROOT)) in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["exclude"]
    assert {path.suffix for path in pictures.iterdir()} == {".png"}
    assert all(path.stat().st_size < 150_000 for path in pictures.iterdir())
