"""The public API is pinned: the names, signatures and defaults that can be imported, and those documented."""

from __future__ import annotations

import difflib
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from support.guide import TEXTS
from support.public_api import MODULES, public_api

import recallm

ROOT = Path(__file__).parents[2]
PINNED = ROOT / "tests" / "data" / "public_api.txt"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_public_api_is_as_pinned() -> None:
    """Public names, signatures, members, fields and defaults are those in ``tests/data/public_api.txt``."""
    pinned, found = PINNED.read_text(encoding="utf-8").splitlines(), public_api().splitlines()
    changes = "\n".join(difflib.unified_diff(pinned, found, "pinned", "found", lineterm="", n=2))
    assert not changes, f"the public API has changed; if it should, regenerate {PINNED.name}:\n{changes}"


def test_a_star_import_brings_exactly_the_public_names() -> None:
    """``from recallm import *`` binds exactly ``__all__``, names that are imported on use included."""
    namespace: dict[str, Any] = {}
    exec("from recallm import *", namespace)  # noqa: S102  # nothing else is a star import
    assert sorted(namespace.keys() - {"__builtins__"}) == sorted(recallm.__all__)


def test_all_public_names_are_listed_once() -> None:
    """``__all__`` repeats no name, and lists every name of recallm that the module binds without an underscore."""
    assert len(set(recallm.__all__)) == len(recallm.__all__)
    ours = {name for name, value in vars(recallm).items() if getattr(value, "__module__", "").startswith("recallm.")}
    assert {name for name in ours if not name.startswith("_")} <= set(recallm.__all__)


def test_the_guide_lists_the_public_names() -> None:
    """The guide's table of public names has each name of ``__all__`` once and no other."""
    rows = [line for line in TEXTS["names"].splitlines() if line.startswith("| ")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(recallm.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_public_modules_import(module: str) -> None:
    """Every module that users import from exists."""
    assert importlib.import_module(module).__name__ == module
