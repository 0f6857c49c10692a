"""Importing recallm is cheap: nothing heavy is loaded before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "fastembed", "onnxruntime", "redis", "torch", "numpy", "pydantic", "prometheus_client", "sentence_transformers",
    "tokenizers", "huggingface_hub", "opentelemetry",
]  # fmt: skip


def loaded_after(program: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running `program`."""
    code = f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


DECORATED = """
import recallm
@recallm.semantic_cache(context={})
def answer(question: str) -> str:
    return question
@recallm.semantic_cache(context={}, storage="memory://")
async def aanswer(question: str) -> str:
    return question
recallm.stats(), recallm.caches(), recallm.storages()
"""


@pytest.mark.parametrize("program", ["import recallm", DECORATED], ids=["import", "decorate"])
def test_nothing_heavy_is_loaded(program: str) -> None:
    """Neither importing recallm nor decorating functions loads a heavy dependency."""
    loaded = loaded_after(program)
    assert "recallm.decorator" in loaded
    assert sorted(loaded & set(HEAVY)) == []


def test_every_public_name_is_there() -> None:
    """Every name in ``__all__`` can be imported."""
    program = "import recallm\nassert all(hasattr(recallm, name) for name in recallm.__all__)"
    assert "recallm.embedders.fastembed" in loaded_after(program)


def test_an_unknown_name_is_no_attribute() -> None:
    """An unknown attribute of the package raises the `AttributeError` that Python would raise."""
    import recallm

    with pytest.raises(AttributeError, match="'recallm' has no attribute 'semantic_cahce'"):
        recallm.semantic_cahce  # noqa: B018  # the misspelling is the point


def test_names_that_are_imported_on_use_are_listed() -> None:
    """``dir`` and tab completion show every public name before it is used."""
    import recallm

    assert set(recallm.__all__) <= set(dir(recallm))
