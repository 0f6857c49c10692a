"""The README's "Inside recallm" is true: the names in it exist, and a call takes the steps that it describes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.engine.drivers import EffectHandler
from recallm.testing import FakeEmbedder

ROOT = Path(recallm.__file__).parent
README = (ROOT.parent / "README.md").read_text(encoding="utf-8")
INSIDE = README.partition("## Inside recallm")[2].partition("\n## ")[0]
STEPS = re.findall(r"^\d+\. (.*(?:\n +.*)*)", INSIDE, re.MULTILINE)


def resolved(path: str) -> Any:
    """Return the object that a dotted path below the package names."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        if place.with_suffix(".py").exists() or place.joinpath("__init__.py").exists():
            found: Any = import_module(".".join(["recallm", *parts[:length]]))
            for name in parts[length:]:
                found = getattr(found, name)
            return found
    raise LookupError(path)


NAMED = sorted(
    {name for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", " ".join(STEPS)) if not name.endswith((".py", ".md"))}
)


@pytest.mark.parametrize("path", NAMED)
def test_what_the_steps_name_exists(path: str) -> None:
    """Each dotted name in the README's steps of a call names something in the package."""
    assert resolved(path) is not None


def test_files_in_the_table_of_what_to_touch_exist() -> None:
    """Each path in the README's table exists, below the package or from the top of the repository."""
    paths = set(re.findall(r"`([\w/]+(?:/[\w.]*|\.py))`", INSIDE))
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists() and not (ROOT.parent / path).exists()] == []


@contextmanager
def traced(*functions: Callable[..., object]) -> Iterator[list[str]]:
    """Record which of these functions are entered, and which effects a handler begins."""
    codes = {function.__code__: function.__qualname__ for function in functions}
    entered: list[str] = []

    def record(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or frame.f_code not in codes:
            return
        name = codes[frame.f_code]
        entered.append(type(frame.f_locals["effect"]).__name__ if name == "EffectHandler.begin" else name)

    sys.setprofile(record)
    try:
        yield entered
    finally:
        sys.setprofile(None)


def test_one_call_goes_the_way_that_is_told() -> None:
    """A reworded prompt takes the README's steps in their order up to the hit; a new one goes on to the function."""
    ask = semantic_cache(context={}, guards=(), storage=InMemoryStorage(), embedder=FakeEmbedder())(lambda prompt: "a")
    ask("how do I reset my password")
    watched = [
        resolved("engine.callsite.CallSite.call"),
        resolved("keying.keyer.Keyer.request"),
        resolved("engine.drivers.run"),
        resolved("engine.decision.decide"),
        EffectHandler.begin,
    ]
    with traced(*watched) as hit:
        ask("how do I my password reset")
    start = ["CallSite.call", "Keyer.request", "run", "LoadModel", "Recall", "Coalesce", "Embed", "Search"]
    assert hit == [*start, "decide", "Emit"]
    with traced(*watched) as miss:
        ask("where is my parcel")
    assert miss[: len(start)] == start
    assert miss[-3:] == ["Emit", "Put", "Emit"]
