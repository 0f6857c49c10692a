"""What the embedder asks of Sentence Transformers, shown on a tiny library in its place."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from recallm.embedders import model_files
from recallm.embedders.base import measured_dim
from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder
from recallm.errors import ModelUnavailableError

TOKENIZER_FOLDER = Path(model_files.__file__).parent / "data" / "all-MiniLM-L6-v2"
REVISION = "5" * 40


class Library:
    """Sentence Transformers as far as recallm uses it.

    Args:
        cached: whether its model is found without a network.
        fast: whether the model's tokenizer tells what it reads.
    """

    def __init__(self, *, cached: bool = True, fast: bool = True) -> None:
        self.opened: list[dict[str, Any]] = []
        self._cached = cached
        tokenizer = Tokenizer.from_file(str(TOKENIZER_FOLDER / "tokenizer.json"))
        self.tokenizer = SimpleNamespace(model_max_length=128, **({"backend_tokenizer": tokenizer} if fast else {}))
        self.max_seq_length = None

    def open(self, name: str, **options: Any) -> Library:
        """Open a model by its name."""
        self.opened.append({"name": name, **options})
        if options["local_files_only"] and not self._cached:
            raise OSError("not in the cache")
        return self

    def encode(self, texts: list[str], *, batch_size: int, show_progress_bar: bool) -> Any:
        """Embed texts by their length."""
        assert batch_size == len(texts)
        assert not show_progress_bar
        return [[float(len(text)), 1.0, 2.0] for text in texts]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Library], Library]:
    """Install a library under the name of Sentence Transformers."""

    def put(library: Library) -> Library:
        module = ModuleType("sentence_transformers")
        module.__spec__ = ModuleSpec("sentence_transformers", None)
        module.SentenceTransformer = library.open  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sentence_transformers", module)
        return library

    return put


def test_a_folder_is_read_and_known_by_its_content(install: Callable[[Library], Library], tmp_path: Path) -> None:
    """Without a network, and without running code that the model brings."""
    library = install(Library())
    ids = []
    for name in ("one", "two"):
        shutil.copytree(TOKENIZER_FOLDER, tmp_path / name)
        embedder = SentenceTransformerEmbedder(str(tmp_path / name), device="cpu")
        ids.append(embedder.model_id)
    assert ids[0] == ids[1]
    assert ids[0].startswith("local@sha256:")
    assert embedder.embed("four").tolist() == [4.0, 1.0, 2.0]
    assert embedder.embed_batch(["four", "one"]).shape == (2, embedder.dim) == (2, 3)
    assert embedder.max_tokens == 128
    assert [opened["local_files_only"] for opened in library.opened] == [True, True]
    assert not any(opened["trust_remote_code"] for opened in library.opened)
    (tmp_path / "two" / "more.txt").write_text("changed")
    assert SentenceTransformerEmbedder(str(tmp_path / "two")).model_id != ids[0]


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_hub_model_is_known_by_its_revision(
    install: Callable[[Library], Library], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cached: bool
) -> None:
    """The hub is asked only for what is not in the cache, and first whether it answers at all."""
    repository = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    shutil.copytree(TOKENIZER_FOLDER, repository / "snapshots" / REVISION)
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.model_info", lambda name, **_: asked.append(name))
    library = install(Library(cached=cached))
    embedder = SentenceTransformerEmbedder(name, cache_dir=tmp_path)
    assert embedder.model_id == f"sentence-transformers/all-MiniLM-L6-v2@{REVISION}"
    assert asked == ([] if cached else ["sentence-transformers/all-MiniLM-L6-v2"])
    assert [opened["local_files_only"] for opened in library.opened] == ([True] if cached else [True, False])


def test_what_may_not_be_fetched_is_not(install: Callable[[Library], Library], tmp_path: Path) -> None:
    """The error says what to do."""
    library = install(Library(cached=False))
    with pytest.raises(ModelUnavailableError, match="check the network and the cache"):
        SentenceTransformerEmbedder(cache_dir=tmp_path, local_files_only=True).load()
    assert len(library.opened) == 1


def test_a_tokenizer_that_does_not_tell_what_it_reads_is_refused(
    install: Callable[[Library], Library], tmp_path: Path
) -> None:
    """Truncated prompts could not be told from whole ones."""
    install(Library(fast=False))
    with pytest.raises(ModelUnavailableError, match="has no fast tokenizer"):
        SentenceTransformerEmbedder(str(tmp_path)).load()


@pytest.mark.parametrize("vectors", [[[]], [1.0, 2.0], [[1.0, float("nan")]], [[1.0], [2.0]]], ids=repr)
def test_a_model_that_gives_no_vector_is_unavailable(vectors: Any) -> None:
    """It is tried when it is loaded, not at the first prompt."""
    with pytest.raises(ModelUnavailableError, match="must be finite and of shape"):
        measured_dim(lambda _: np.asarray(vectors, np.float32))
